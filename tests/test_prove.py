"""Enclosures of global minima: narrow at an optimum, wide elsewhere, true always, and verified by a checker that shares no code."""

from __future__ import annotations

import builtins
import importlib.util
import json
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

import ufm
from ufm.losses import AbstractLoss

CE, MSE = ufm.CrossEntropy(), ufm.MeanSquaredError()
_file = Path(__file__).resolve().parents[1] / "docs" / "check_enclosure.py"
_spec = importlib.util.spec_from_file_location("check_enclosure", _file)
assert _spec is not None
assert _spec.loader is not None
checker = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(checker)


def problem_of(counts, *, loss=CE, lam=1e-3, bias=None, d=8):
    labels = ufm.one_hot(counts, collapsed=True)
    return ufm.Problem(labels, loss=loss, widths=(d,), lambda_W=lam, lambda_H=lam, bias=bias)


def proved(problem):
    solution = ufm.minimise(problem, key=jax.random.key(0))
    return ufm.prove(problem, solution.params)


PROBLEMS = [
    pytest.param(problem_of((9, 5, 3, 2)), id="ce"),
    pytest.param(problem_of((9, 5, 3, 2), bias="free"), id="ce-free"),
    pytest.param(problem_of((9, 5, 3, 2), bias=0.2), id="ce-penalised"),
    pytest.param(problem_of((9, 5, 3, 2), lam=1e-9), id="ce-tiny-decay"),
    pytest.param(problem_of((9, 5, 3, 2), loss=MSE), id="mse"),
    pytest.param(problem_of((9, 5, 3, 2), loss=MSE, bias="free"), id="mse-free"),
    pytest.param(problem_of((9, 5, 3, 2), loss=MSE, bias=0.2), id="mse-penalised"),
    pytest.param(problem_of((9, 5, 3, 2), loss=ufm.RescaledSquaredError(weight=3.0, length=2.0)), id="rescaled"),
    pytest.param(
        problem_of((9, 5, 3, 2), loss=ufm.AdjustedCrossEntropy(multiplicative=[1.0, 0.5, 2.0, 1.0]), bias="free"), id="adjusted-free"
    ),
]


@pytest.mark.parametrize("problem", PROBLEMS)
def test_encloses_and_a_second_checker_agrees(problem, tmp_path):
    enclosure = proved(problem)
    assert enclosure.lower <= enclosure.upper
    assert enclosure.relative_width < 1e-12
    assert enclosure.closes()
    assert "proved" in str(enclosure)
    try:
        predicted = float(ufm.closed_form(problem).value)
    except ufm.NoClosedForm:
        predicted = None
    if predicted is not None:
        # the prediction itself is rounded
        assert enclosure.lower * (1 - 1e-13) <= predicted <= enclosure.upper * (1 + 1e-13)
    enclosure.save(tmp_path / "e.json")
    assert checker.verify(json.loads((tmp_path / "e.json").read_text())) == f"{enclosure.lower!r} <= global minimum <= {enclosure.upper!r}"


@pytest.mark.parametrize("lam", [1e-2, 1e-6, 1e-12])
def test_encloses_the_simplex_etf_in_fifty_digits(lam):
    # balanced cross-entropy: log(1 + (K - 1) e^-a) + (K - 1) sqrt(n) mu a, e^a = 1/(sqrt(n) mu) - K + 1
    K, n = 4, 4
    enclosure = proved(problem_of((n,) * K, lam=lam))
    with mpmath.workdps(50):
        price = mpmath.sqrt(n) * mpmath.mpf(lam)
        a = mpmath.log(1 / price - K + 1)
        value = mpmath.log1p((K - 1) * mpmath.exp(-a)) + price * (K - 1) * a
        assert mpmath.mpf(enclosure.lower) <= value <= mpmath.mpf(enclosure.upper)
    assert enclosure.relative_width < 1e-12


@pytest.mark.parametrize("bias", [None, "free"])
def test_a_loose_point_gives_a_wide_enclosure(bias):
    problem = problem_of((9, 5, 3, 2), bias=bias)
    best, widths = proved(problem), []
    params = ufm.minimise(problem, key=jax.random.key(0)).params
    for size in (1e-6, 1e-3, 1e-1):
        noise = ufm.random_start(problem, key=jax.random.key(1))
        loose = ufm.prove(problem, jax.tree.map(lambda x, v, size=size: x + size * v, params, noise))
        assert loose.lower <= best.upper
        assert loose.upper >= best.lower
        widths.append(loose.relative_width)
    assert best.relative_width < widths[0] < widths[1] < widths[2]
    assert widths[2] > 1e-3


def _saved(problem):
    return proved(problem).to_dict()


def _scaled(data, factor):
    entries = [[str(int(int(entry) * factor)) for entry in row] for row in data["dual"]["entries"]]
    return {**data, "dual": {**data["dual"], "entries": entries}}


def test_the_checker_refuses_each_step_gone_wrong():
    squared, free = _saved(PROBLEMS[4].values[0]), _saved(PROBLEMS[1].values[0])
    for data in (squared, free):
        checker.verify(data)
    # t too large, so the norm is too large; a witness of another matrix; ends rounded the wrong way or simply better
    size = abs(squared["upper"])
    wrong = [
        (_scaled(squared, 1 + 1e-6), "norm"),
        ({**squared, "witness": [["1"] * 4 for _ in range(4)]}, "norm"),
        ({**squared, "lower": math.nextafter(squared["upper"], math.inf)}, ""),
        ({**squared, "upper": squared["lower"] - 1e-14 * size}, ""),
        ({**squared, "problem": {**squared["problem"], "lambda_W": squared["problem"]["lambda_W"] * (1 - 1e-9)}}, "norm"),
        # a free bias whose mean is not zero exactly, a share taken from a column
        (_scaled(free, 1 - 1e-9), "shares"),
    ]
    rows = [list(row) for row in free["dual"]["entries"]]
    rows[0][0], rows[1][0] = str(int(rows[0][0]) - 1), str(int(rows[1][0]) + 1)
    wrong.append(({**free, "dual": {**free["dual"], "entries": rows}}, "not allowed"))
    for data, words in wrong:
        with pytest.raises(SystemExit, match=rf"NOT proved.*{words}"):
            checker.verify(data)


class Mine(AbstractLoss):
    """Squared error with interval forms of its own, of which one can be made wrong."""

    value_off: float = 0.0
    conjugate_off: float = 0.0

    def __call__(self, logits, targets):
        return MSE(logits, targets)

    def conjugate(self, dual, targets):
        return MSE.conjugate(dual, targets)

    def enclose(self, logits, target):
        return MSE.enclose(logits, target) + float(self.value_off)

    def enclose_conjugate(self, dual, target):
        return MSE.enclose_conjugate(dual, target) + float(self.conjugate_off)


def test_a_loss_of_a_user_brings_its_interval_form():
    problem = problem_of((9, 5, 3, 2), loss=Mine(jnp.asarray(0.0), jnp.asarray(0.0)))
    plain = proved(problem_of((9, 5, 3, 2), loss=MSE))
    enclosure = proved(problem)
    np.testing.assert_allclose([enclosure.lower, enclosure.upper], [plain.lower, plain.upper], rtol=1e-13)


@pytest.mark.parametrize(("value", "conjugate"), [(0.0, -1e-3), (-1e-3, 0.0), (1e-3, 0.0)])
def test_a_wrong_interval_form_is_refused(value, conjugate):
    problem = problem_of((9, 5, 3, 2), loss=Mine(jnp.asarray(value), jnp.asarray(conjugate)))
    with pytest.raises(ValueError, match=r"`problem.loss` must be convex"):
        proved(problem)


class Plain(AbstractLoss):
    """Without an interval form."""

    def __call__(self, logits, targets):
        return MSE(logits, targets)

    def conjugate(self, dual, targets):
        return MSE.conjugate(dual, targets)


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        pytest.param(ufm.Problem(ufm.one_hot((3, 3)), loss=MSE, widths=(3, 3), lambda_W=0.1, lambda_H=0.1), "one linear layer", id="deep"),
        pytest.param(problem_of((3, 3), loss=ufm.Focal(1.0)), "convex", id="focal"),
        pytest.param(problem_of((3, 3), loss=Plain()), "`enclose", id="no-interval-form"),
    ],
)
def test_refusals(problem, message):
    with pytest.raises(ValueError, match=message):
        ufm.prove(problem, ufm.random_start(problem, key=jax.random.key(0)))


def test_refuses_a_random_bound():
    problem = ufm.LargeProblem(ufm.sparse_one_hot((3, 3)), loss=CE, feature_dim=3, lambda_W=0.1, lambda_H=0.1)
    with pytest.raises(ValueError, match=r"`problem` must be .*Problem"):
        ufm.prove(problem, None)


def test_without_the_extra_one_sentence(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **options):
        if name.partition(".")[0] == "flint":
            raise ImportError(name)
        return real(name, *args, **options)

    problem = problem_of((3, 3), loss=MSE)
    params = ufm.random_start(problem, key=jax.random.key(0))
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match="proofs"):
        ufm.prove(problem, params)
