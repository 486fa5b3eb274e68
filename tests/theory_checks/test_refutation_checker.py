"""The checker of refutations that readers get.

It shares nothing with the library and believes nothing touched.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
import io
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.theory_checks.refuted import missing_class, refutation, unequal_temperatures
from theory_checks.engine.proofs import enclosed

CHECKER = Path(__file__).resolve().parents[2] / "docs" / "check_refutation.py"
_SPEC = importlib.util.spec_from_file_location("check_refutation", CHECKER)
checker = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(checker)


@functools.cache
def written(bias: float | None = None) -> bytes:
    return enclosed(refutation(bias=bias)).as_npz()


def arrays(bias: float | None = None) -> dict[str, np.ndarray]:
    """What a reader of the file has."""
    with np.load(io.BytesIO(written(bias)), allow_pickle=False) as file:
        return dict(file)


def test_it_is_short_and_knows_nothing_of_the_library():
    source = CHECKER.read_text(encoding="utf-8")
    # (three kinds of what is refuted, of thirty lines each)
    assert len(source.splitlines()) <= 190
    nodes = list(ast.walk(ast.parse(source)))
    modules = {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    modules |= {name.name for node in nodes if isinstance(node, ast.Import) for name in node.names}
    assert modules == {"fractions", "mpmath", "numpy", "sys"}


def test_as_a_command(tmp_path):
    good, bad = tmp_path / "good.npz", tmp_path / "bad.npz"
    good.write_bytes(written())
    changed = arrays()
    np.savez(bad, **{**changed, "upper": changed["value"] * (1 - 1e-12)})
    for path, status in ((good, 0), (bad, 1)):
        run = subprocess.run(
            [sys.executable, "-O", CHECKER, path], capture_output=True, text=True, check=False
        )
        assert run.returncode == status, run.stderr
        assert ("verified, " in run.stdout) == (status == 0)
    assert "NOT proved" in run.stderr


@pytest.mark.parametrize("bias", [None, 0.1])
def test_what_is_written_is_verified(bias):
    c = arrays(bias)
    assert (
        checker.verify(c)
        == f"{float(c['upper'])!r} < {float(c['claimed_lower'])!r} <= the value of every "
        f"simplex ETF"
    )


def scaled(**factors):
    def change(c):
        for name, factor in factors.items():
            c[name] = c[name] * factor

    return change


def upper(c):
    """One float lower."""
    c["upper"] = np.nextafter(c["upper"], -np.inf)


def ends(c):
    c["upper"] = c["claimed_lower"]


def another_point(c):
    c["W_2"][0, 0] += 1e-6


def a_bias(c):
    c["b"][1] = 1e-6


def another_mass(c):
    c["masses"][0] *= 1 + 1e-9


def another_target(c):
    c["targets"][:, 0] = [1 - 1e-9, 1e-9, 0, 0]


def another_class(c):
    c["targets"][:, 0] = [0, 1, 0, 0]


def infinite(c):
    c["claimed"] = np.float64(math.inf)


def without_ends(c):
    del c["upper"], c["claimed_lower"]


def fewer_columns(c):
    c["H"] = c["H"][:, :-1]


def an_offset(c):
    """Of the loss, not of what was claimed of it."""
    c["offsets"] = 1e-3 * c["targets"]


def more_samples_of_a_class(c):
    c["weights"] = np.where(np.arange(len(c["masses"])) == 0, 1 + 1e-12, 1.0)


CHANGES = {
    "upper-end-too-low": (upper, "the value"),
    "lower-end-too-high": (scaled(claimed_lower=1 + 4e-15), "may be lower"),
    "lower-end-far-too-high": (scaled(claimed_lower=2.0), "may be lower"),
    "ends-that-touch": (ends, "a value that is not lower"),
    "another-point": (another_point, "the value"),
    "another-bias": (a_bias, "the value"),
    "less-decay": (scaled(lambda_W=1 - 1e-9), "may be lower"),
    "more-decay": (scaled(lambda_H=1 + 1e-9), "the value"),
    "no-decay": (scaled(lambda_H=0.0), "masses or decay"),
    "negative-decay": (scaled(lambda_W=-1.0), "masses or decay"),
    "fewer-samples": (scaled(masses=1 - 1e-9), "may be lower"),
    "negative-masses": (scaled(masses=-1.0), "masses or decay"),
    "one-mass": (another_mass, "equally large"),
    "soft-targets": (another_target, "one-hot"),
    "other-labels": (another_class, "equally large"),
    "not-finite": (infinite, "not finite"),
    "without-ends": (without_ends, "no --prove, or .*; its value is 0.*, 0.* is called the least"),
    "fewer-columns": (fewer_columns, "do not fit"),
    "another-loss": (an_offset, "another kind"),
    "samples-that-count-more": (more_samples_of_a_class, "count alike"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_has_been_touched_is_refused(name):
    change, reason = CHANGES[name]
    c = arrays(0.1)
    change(c)
    with pytest.raises(SystemExit, match=f"NOT proved: .*{reason}"):
        checker.verify(c)


def test_a_layer_too_few_is_refused():
    c = arrays()
    c["lambda_W"] = c["lambda_W"][:-1]
    with pytest.raises(SystemExit, match="NOT proved"):
        checker.verify(c)


# one layer: ETF classifiers under other losses, and features along fixed rows
# ----------------------------------------------------------------------

KINDS = {
    "temperatures": (unequal_temperatures, "classifier that is a simplex ETF"),
    "missing": (missing_class, "choice of features along the rows of their classes"),
}


def of_one_layer(kind: str) -> dict[str, np.ndarray]:
    found = enclosed(KINDS[kind][0]())
    assert found.proved
    with np.load(io.BytesIO(found.as_npz()), allow_pickle=False) as file:
        return dict(file)


@pytest.mark.parametrize("kind", KINDS)
def test_other_kinds_are_verified(kind):
    said = checker.verify(of_one_layer(kind))
    assert said.endswith(f"<= the value of every {KINDS[kind][1]}")


def another_share(c):
    c["shares"][1, 0] += 0.05


def a_share_below_zero(c):
    c["shares"][1, 2], c["factor"] = -1e-3, 1e-6


def other_lengths(c):
    c["lengths"][0] *= 1.01


def without(name):
    def change(c):
        del c[name]

    return change


def a_class_kept(c):
    c["offsets"] = np.maximum(c["offsets"], -1e300)


def weights_that_move(c):
    c["lambda_W"] = c["lambda_W"] + 1e-300


def a_target_that_is_dropped(c):
    c["offsets"][0, 0] = -np.inf


def not_a_number(c):
    c["offsets"][0, 1] = np.nan


TOUCHED = (
    ("temperatures", upper, "the value"),
    ("temperatures", scaled(claimed_lower=1 + 1e-12), "may be lower"),
    ("temperatures", scaled(multiplicative=1 + 1e-9), "the value|may be lower|too long"),
    ("temperatures", scaled(lambda_W=1 - 1e-9), "too long"),
    ("temperatures", scaled(lambda_H=1 + 1e-9), "the value"),
    ("temperatures", scaled(factor=1 + 1e-9), "too long"),
    ("temperatures", scaled(factor=0.5), "may be lower"),
    ("temperatures", another_share, "too long|may be lower"),
    ("temperatures", a_share_below_zero, "shares below 0"),
    ("temperatures", without("shares"), "another kind"),
    ("temperatures", a_bias, "a bias"),
    ("missing", upper, "the value"),
    ("missing", scaled(claimed_lower=1 + 1e-9), "may be lower"),
    ("missing", other_lengths, "may be lower"),
    ("missing", without("lengths"), "another kind"),
    ("missing", without("offsets"), "may be lower"),
    ("missing", weights_that_move, "not fixed"),
    ("missing", a_target_that_is_dropped, "dropped"),
    ("missing", not_a_number, "not finite"),
)


@pytest.mark.parametrize(("kind", "change", "reason"), TOUCHED)
def test_what_has_been_touched_of_other_kinds_is_refused(kind, change, reason):
    c = of_one_layer(kind)
    change(c)
    with pytest.raises(SystemExit, match=f"NOT proved: .*({reason})"):
        checker.verify(c)


def test_a_class_that_is_all_but_dropped_is_dropped():
    c = of_one_layer("missing")
    a_class_kept(c)
    checker.verify(c)
