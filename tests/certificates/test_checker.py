"""The checker that readers get: it shares nothing with the library and believes nothing touched."""

from __future__ import annotations

import ast
import copy
import math
import re
import subprocess
import sys

import jax
import pytest

import ufm
from tests.certificates.problems import CHECKER, checker, on_file, solved

verify = checker().verify


def test_it_is_short_and_knows_nothing_of_the_library():
    source = CHECKER.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= 290
    modules = {
        node.module for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)
    }
    modules |= {
        name.name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import)
        for name in node.names
    }
    assert modules == {"fractions", "functools", "json", "mpmath", "numpy", "pathlib", "sys"}


def test_as_a_command(tmp_path):
    enclosure = ufm.prove(*solved("ce", "free", "smoothed"))
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    enclosure.save(good)
    text = good.read_text(encoding="utf-8")
    bad.write_text(text.replace(repr(enclosure.lower), repr(enclosure.upper), 1), encoding="utf-8")
    for path, status in ((good, 0), (bad, 1)):
        run = subprocess.run(
            [sys.executable, "-O", CHECKER, path], capture_output=True, text=True, check=False
        )
        assert run.returncode == status, run.stderr
    assert "NOT proved" in run.stderr


def test_the_words_about_it_are_true():
    words = (CHECKER.parent / "proofs.md").read_text(encoding="utf-8")
    lower, upper = map(float, re.search(r"(\S+) <= global minimum <= (\S+):", words).groups())
    problem = ufm.Problem(
        ufm.one_hot([200, 100, 50, 50], collapsed=True),
        loss=ufm.MeanSquaredError(),
        widths=(64,),
        lambda_W=5e-4,
        lambda_H=5e-4,
    )
    enclosure = ufm.prove(problem, ufm.minimise(problem, key=jax.random.key(0)).params)
    assert lower <= enclosure.upper
    assert enclosure.lower <= upper
    assert lower < upper < lower * (1 + 1e-14)


def scaled(rows, numerator, denominator=2**40):
    return [[str(int(x) * numerator // denominator) for x in row] for row in rows]


def lower(data):
    data["lower"] = math.nextafter(data["lower"], math.inf)


def upper(data):
    data["upper"] = math.nextafter(data["upper"], -math.inf)


def larger_dual(data):
    data["dual"]["entries"] = scaled(data["dual"]["entries"], 2**40 + 1)


def smaller_exponent(data):
    data["dual"]["exponent"] -= 1


def no_witness(data):
    data["witness"] = [["0"] * len(data["witness"])] * len(data["witness"])


def less_decay(data):
    data["problem"]["lambda_W"][0] *= 1 - 1e-9


def more_decay(data):
    data["problem"]["lambda_H"] *= 1 + 1e-9


def no_decay(data):
    data["problem"]["lambda_H"] = 0.0


def another_mass(data):
    data["problem"]["masses"][0] *= 1 + 1e-9


def negative_mass(data):
    data["problem"]["masses"][0] *= -1


def weights(data):
    data["problem"]["weights"] = [1.0 + 1e-9] + [1.0] * (len(data["problem"]["masses"]) - 1)


def another_target(data):
    data["problem"]["targets"][0][1] += 1e-9


def another_point(data):
    data["point"]["W"][0][0][0] += 1e-3


def another_loss(data):
    names = {"CrossEntropy": "MeanSquaredError", "MeanSquaredError": "RescaledSquaredError"}
    names |= {"RescaledSquaredError": "MeanSquaredError", "AdjustedCrossEntropy": "CrossEntropy"}
    loss = data["problem"]["loss"]
    loss["name"] = names[loss["name"]]
    loss.update({"weight": 1.01} if loss["name"] == "RescaledSquaredError" else {})
    for gone in ("multiplicative", "additive") if loss["name"] == "CrossEntropy" else ():
        del loss[gone]
    for gone in ("weight", "length") if loss["name"] == "MeanSquaredError" else ():
        loss.pop(gone, None)


def one_unit(data):
    """One unit of the grid moved within a column, from a class to another."""
    entries = data["dual"]["entries"]
    entries[0][0], entries[1][0] = str(int(entries[0][0]) - 1), str(int(entries[1][0]) + 1)


def one_share(data):
    entries = data["dual"]["entries"]
    entries[0][0] = str(int(entries[0][0]) + 1)


def cheaper_bias(data):
    data["problem"]["bias"] *= 1 - 1e-9


def negative_bias(data):
    data["problem"]["bias"] *= -1


def a_bias(data):
    data["point"]["b"] = [1e-300] * len(data["witness"])


def fewer_columns(data):
    for row in data["point"]["H"]:
        row.pop()


ALWAYS = (
    lower,
    upper,
    larger_dual,
    smaller_exponent,
    no_witness,
    less_decay,
    more_decay,
    no_decay,
    another_mass,
)
ALWAYS += (negative_mass, weights, another_target, another_point, another_loss)
TAMPERINGS = [
    *[
        (loss, "free", change)
        for loss in ("ce", "mse", "adjusted", "rescaled")
        for change in ALWAYS
    ],
    *[(loss, "free", one_unit) for loss in ("ce", "mse")],
    *[(loss, "none", one_share) for loss in ("ce", "adjusted")],
    *[("ce", "penalised", change) for change in (cheaper_bias, negative_bias)],
    ("mse", "none", a_bias),
]


@pytest.mark.parametrize(
    ("loss", "bias", "change"),
    [pytest.param(*case, id=f"{case[0]}-{case[1]}-{case[2].__name__}") for case in TAMPERINGS],
)
def test_what_has_been_touched_is_refused(loss, bias, change):
    data = on_file(ufm.prove(*solved(loss, bias, "tail")))
    verify(copy.deepcopy(data))
    change(data)
    with pytest.raises(SystemExit, match="NOT proved"):
        verify(data)


def entry(*path_and_value):
    """A change of one entry of a file."""
    *path, name, value = path_and_value

    def change(data):
        for part in path:
            data = data[part]
        data[name] = value

    return change


def a_whole_penalty(data):
    """As other languages write 1.0: it is a number, and the file is not about that problem."""
    data["problem"]["bias"] = 1


UNKNOWN = {
    "whole-penalty": a_whole_penalty,
    "bias-true": entry("problem", "bias", True),
    "bias-by-another-name": entry("problem", "bias", "Free"),
    "map": entry("problem", "map", {"name": "relu"}),
    "tied-without-signs": entry("problem", "map", {"name": "tied", "temperature": 1.0}),
    "parameter-of-a-loss": entry("problem", "loss", {"name": "CrossEntropy", "gamma": 2.0}),
    "parameter-of-a-domain": entry("problem", "features", {"name": "real", "radius": 1.0}),
    "domain": entry("problem", "features", {"name": "torus"}),
    "part": entry("problem", "noise", 0.1),
    "anchor-without-beta": entry("problem", "anchor", [[1.0] * 4] * 6),
    "beta-without-anchor": entry("problem", "beta", 0.0),
    "witness-of-another-shape": entry("witness", [["1", "1", "1"]]),
    "witness-of-no-shape": entry("witness", [["1"], ["1", "1"]]),
    "no-dual": entry("dual", None),
    "end-in-words": entry("lower", "0.0"),
    "end-that-is-none": entry("upper", math.nan),
    "mass-true": entry("problem", "masses", 0, True),
    "grid-in-floats": entry("dual", "exponent", 5.0),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_it_does_not_know_is_refused(name):
    data = on_file(ufm.prove(*solved("ce", "none", "tail")))
    verify(copy.deepcopy(data))
    UNKNOWN[name](data)
    with pytest.raises(SystemExit, match="NOT proved"):
        verify(data)


def test_whole_numbers_are_numbers():
    """Other languages write 1.0 as 1."""
    data = on_file(ufm.prove(*solved("ce", "none", "tail")))
    masses = data["problem"]["masses"]
    data["problem"]["masses"] = [int(m) for m in masses]
    assert data["problem"]["masses"] == masses
    verify(data)


def test_a_loss_that_it_does_not_know_is_named():
    parts = ufm.CrossEntropy(), ufm.losses.AdjustedCrossEntropy(multiplicative=[1.0, 2.0, 3.0])
    problem = ufm.Problem(
        ufm.one_hot((3, 2, 1), collapsed=True),
        loss=ufm.losses.Sum(parts),
        widths=(3,),
        lambda_W=0.01,
        lambda_H=0.01,
        bias="free",
    )
    params = ufm.minimise(problem, key=jax.random.key(0)).params
    with pytest.raises(SystemExit, match=r"NOT proved: this knows CrossEntropy, .*, not Sum"):
        verify(on_file(ufm.prove(problem, params)))


def test_arrays_that_do_not_fit_are_refused():
    data = on_file(ufm.prove(*solved("ce", "free", "tail")))
    fewer_columns(data)
    with pytest.raises((SystemExit, ValueError)):
        verify(data)
