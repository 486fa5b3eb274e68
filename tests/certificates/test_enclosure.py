"""Proofs: they close at optima, hold everywhere, and no slip in a step of them goes through."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import json
import math
import pickle
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

import ufm
from tests.certificates.problems import (
    BIASES,
    LOSSES,
    MIXTURES,
    K,
    checker,
    d,
    moved,
    on_file,
    problem_of,
    solved,
)
from ufm._exact.decimals import printed
from ufm.certificates import definite, dual_point, enclosure
from ufm.certificates.definite import Form
from ufm.losses import AbstractLoss

# K times the rounding of a float, several times over
ROUNDING = 1e-13
verify = checker().verify


# more columns than classes, as many, fewer
CASES = (
    *itertools.product(LOSSES, BIASES, ("smoothed", "uneven")),
    ("ce", "none", "full"),
    ("mse", "free", "full"),
    ("adjusted", "none", "two-columns"),
    ("mse", "penalised", "two-columns"),
)


@pytest.mark.parametrize(
    ("loss", "bias", "labels"), [pytest.param(*case, id="-".join(case)) for case in CASES]
)
def test_the_enclosure_closes_at_a_minimum_and_is_verified(loss, bias, labels):
    problem, params = solved(loss, bias, labels)
    proved, certificate = ufm.prove(problem, params), ufm.certify(problem, params)
    assert proved.lower <= proved.upper
    assert proved.closes(ROUNDING)
    np.testing.assert_allclose(proved.upper, certificate.value, rtol=1e-13)
    verify(on_file(proved))


def exact_value(loss: str, n: int, lambda_W: float, lambda_H: float):
    """Optimum of balanced classes without bias (linear_networks 1.1, balanced 2.1), to 60
    digits."""
    with mpmath.workdps(60):
        root = mpmath.sqrt(n * mpmath.mpf(lambda_W) * mpmath.mpf(lambda_H))
        if loss == "mse":
            c = K * root
            return (2 * c - c**2) / 2
        a = mpmath.log(1 / root - K + 1)
        return mpmath.log1p((K - 1) * mpmath.exp(-a)) + root * (K - 1) * a


@pytest.mark.parametrize(
    ("loss", "lam"), [("ce", 1e-2), ("ce", 1e-6), ("ce", 1e-12), ("mse", 1e-2), ("mse", 1e-6)]
)
def test_the_closed_form_lies_inside(loss, lam):
    problem, params = solved(loss, "none", "balanced", lam)
    value = exact_value(loss, 6, float(problem.lambda_W[0]), float(problem.lambda_H))
    proved = ufm.prove(problem, params)
    assert mpmath.mpf(proved.lower) <= value <= mpmath.mpf(proved.upper)
    assert proved.closes(ROUNDING)
    for size in (1e-6, 1e-2, 1.0):
        loose = ufm.prove(problem, moved(params, size))
        assert mpmath.mpf(loose.lower) <= value <= mpmath.mpf(loose.upper)
        # the upper end is the value of the point, whose excess is of second order
        assert loose.relative_width > 1e-3 * size**2
        verify(on_file(loose))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("bias", BIASES)
def test_enclosures_of_one_problem_overlap(loss, bias):
    problem, params = solved(loss, bias, "uneven")
    best = ufm.prove(problem, params)
    points = [moved(params, 10.0**-k, seed=k) for k in range(9)]
    points.append(jax.tree.map(jnp.zeros_like, params))
    for point in points:
        other = ufm.prove(problem, point)
        assert other.lower <= best.upper
        assert other.upper >= best.lower
        verify(on_file(other))


@pytest.mark.parametrize("size", [1e3, 1e100, 1e200])
@pytest.mark.parametrize("loss", LOSSES)
def test_huge_points_have_wide_enclosures(loss, size):
    problem, params = solved(loss, "free", "tail")
    proved = ufm.prove(problem, jax.tree.map(lambda x: size * x, params))
    assert -1 < proved.lower <= ufm.prove(problem, params).upper < proved.upper
    assert proved.relative_width > 0.5


@pytest.mark.parametrize("bias", ["none", "free"])
def test_an_end_that_is_infinite_is_saved_and_claims_nothing(bias, tmp_path):
    """JSON has no infinity. A free bias that cannot be solved for is left as it is."""
    problem, params = solved("mse", bias, "tail")
    far = ufm.Params(*(jax.tree.map(lambda x: 1e155 * x, (params.weights, params.features))))
    far = far if params.bias is None else dataclasses.replace(far, bias=params.bias)
    proved = ufm.prove(problem, far)
    assert proved.upper == math.inf
    proved.save(tmp_path / "proof.json")
    written = json.loads((tmp_path / "proof.json").read_text(encoding="utf-8"))
    assert written["upper"] is None
    assert verify(written).endswith("<= global minimum <= inf")


def test_a_point_too_far_from_an_anchor_is_named():
    problem = MIXTURES["anchor"]
    start = ufm.solvers.random_start(problem, key=jax.random.key(0))
    far = jax.tree.map(lambda x: 1e200 * x, start)
    with pytest.raises(ValueError, match="`params` must be nearer to a minimum for a proof"):
        ufm.prove(problem, far)


def test_the_width_is_of_second_order_in_the_error():
    problem, params = solved("ce", "none", "tail")
    widths = [ufm.prove(problem, moved(params, size)).relative_width for size in (1e-7, 1e-8)]
    assert widths[0] < 1e-11
    assert widths[1] < 1e-13
    # and of first order for the gradient scaled onto the ball, as `certify` has it
    assert ufm.certify(problem, moved(params, 1e-7)).gap > 1e-8


def test_more_bits_are_as_true():
    problem, params = solved("adjusted", "free", "smoothed")
    few, many = ufm.prove(problem, params, bits=60), ufm.prove(problem, params, bits=300)
    assert few.lower <= many.lower
    assert many.upper <= few.upper
    assert many.bits == 300
    verify(on_file(many))


def test_float32_is_read_as_it_is():
    labels = ufm.one_hot((5, 3, 2, 1), collapsed=True, dtype=np.float32)
    problem = ufm.Problem(
        labels, loss=ufm.CrossEntropy(), widths=(d,), lambda_W=0.01, lambda_H=0.02, bias="free"
    )
    solution = ufm.minimise(problem, key=jax.random.key(0), progress=False)
    proved = ufm.prove(problem, solution.params)
    assert proved.closes(1e-5)
    assert str(proved).endswith("\ndtype: float32, which never verifies a theorem")
    verify(on_file(proved))


def test_below_the_rank_of_the_optimum_it_stays_wide():
    wide, params = solved("mse", "none", "tail")
    optimum = ufm.prove(wide, params)
    narrow = ufm.Problem(
        wide.labels, loss=wide.loss, widths=(2,), lambda_W=wide.lambda_W, lambda_H=wide.lambda_H
    )
    proved = ufm.prove(narrow, ufm.minimise(narrow, key=jax.random.key(0), progress=False).params)
    assert proved.lower <= optimum.upper < proved.upper
    assert not proved.closes(0.01)


def test_what_it_says(tmp_path):
    problem, params = solved()
    proved = ufm.prove(problem, params)
    assert str(proved) == (
        f"{proved.lower!r} <= global minimum <= {proved.upper!r}: proved, relative width "
        f"{printed(proved.relative_width, 2, up=True, form='e')} (106 bits)"
    )
    assert proved.lower in proved
    assert proved.upper in proved
    assert proved.upper + 1e-9 not in proved
    assert np.nan not in proved
    assert (
        proved.upper - proved.lower < proved.width < 1.001 * (proved.upper - proved.lower) + 1e-300
    )
    path = tmp_path / "proof.json"
    with pytest.raises(ValueError, match=r"`path` must be .* can be written; got .* is a folder"):
        proved.save(tmp_path)
    proved.save(path)
    assert path.read_text(encoding="utf-8").startswith('{"lower": ')
    point = dataclasses.replace(proved, lower=proved.upper)
    assert (point.width, point.relative_width) == (0.0, 0.0)


@pytest.mark.parametrize("again", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
@pytest.mark.parametrize("case", [("ce", "free", "smoothed"), ("mse", "penalised", "uneven")])
def test_a_proof_is_copied_and_pickled_exactly(case, again):
    proved = ufm.prove(*solved(*case))
    other = again(proved)
    assert other.to_dict() == proved.to_dict()
    assert (str(other), other.bits) == (str(proved), proved.bits)
    verify(on_file(other))
    # exact fractions, of the same numbers
    for one, own in ((other.dual.data, proved.dual.data), (other.multipliers, proved.multipliers)):
        for field in dataclasses.fields(own):
            assert getattr(one, field.name) == getattr(own, field.name)
    assert other.dual.columns() == proved.dual.columns()
    assert type(other.multipliers.cost) is type(proved.multipliers.cost)


def test_a_focal_loss_that_is_cross_entropy_is_proved_as_that():
    problem, params = solved()
    focal = eqx.tree_at(lambda p: p.loss, problem, ufm.losses.Focal(0.0))
    proved = ufm.prove(focal, params)
    assert on_file(proved) == on_file(ufm.prove(problem, params))
    assert on_file(proved)["problem"]["loss"]["name"] == "CrossEntropy"


# --- slips in a step: refused by `prove` or by the checker ---


@pytest.mark.parametrize("bias", BIASES)
@pytest.mark.parametrize("loss", LOSSES)
def test_dual_logits_that_are_too_large_are_shrunk(loss, bias, monkeypatch):
    problem, params = solved(loss, bias, "tail")
    propose = enclosure.propose

    def large(problem, params):
        start = propose(problem, params)
        return start._replace(dual=1.001 * start.dual)

    monkeypatch.setattr(enclosure, "propose", large)
    proved = ufm.prove(problem, params)
    assert proved.closes(1e-2)
    verify(on_file(proved))


def test_multipliers_that_are_no_numbers_are_refused(monkeypatch):
    """Those of a small ball at a point that is far from any minimum: it was Python's sentence."""
    problem, params = solved("mse", "none", "tail")
    propose = enclosure.propose

    def lost(problem, params):
        start = propose(problem, params)
        return start._replace(multipliers=jax.tree.map(lambda x: jnp.nan * x, start.multipliers))

    monkeypatch.setattr(enclosure, "propose", lost)
    with pytest.raises(ValueError, match="`params` must be nearer to a minimum"):
        ufm.prove(problem, params)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_norm_that_is_not_enclosed_is_found_by_the_checker(loss, monkeypatch):
    problem, params = solved(loss, "none", "tail")
    # the proposal reaches the ball, but only to rounding is it inside
    monkeypatch.setattr(Form, "excess", lambda self, witness: None)
    with pytest.raises((SystemExit, ValueError), match=r"norm|above the value"):
        verify(on_file(ufm.prove(problem, params)))


def test_a_limit_that_is_too_large_is_found_by_the_checker(monkeypatch):
    problem, params = solved("mse", "none", "tail")
    form = Form.of
    monkeypatch.setattr(
        definite.Form,
        "of",
        lambda dual, multipliers: dataclasses.replace(
            (small := form(dual, multipliers)),
            diagonal=[n + n // 10**14 for n in small.diagonal],
        ),
    )
    with pytest.raises((SystemExit, ValueError), match=r"norm|above the value"):
        verify(on_file(ufm.prove(problem, params)))


@pytest.mark.parametrize("loss", LOSSES)
def test_a_bias_that_is_not_repaired_is_refused(loss, monkeypatch):
    problem, params = solved(loss, "free", "tail")
    monkeypatch.setattr(dual_point, "_balance_rows", lambda x, kept, wanted: None)
    monkeypatch.setattr(dual_point, "_close_rows", lambda y, column: None)
    with pytest.raises(ValueError, match="mean is zero exactly"):
        ufm.prove(problem, params)


@pytest.mark.parametrize("loss", ["ce", "adjusted"])
def test_shares_that_are_not_closed_are_refused(loss, monkeypatch):
    problem, params = solved(loss, "none", "tail")
    monkeypatch.setattr(dual_point, "_close_column", lambda x, kept, c, total: None)
    with pytest.raises(ValueError, match="conjugate is infinite"):
        ufm.prove(problem, params)


@pytest.mark.parametrize("loss", LOSSES)
def test_ends_that_are_rounded_inwards_are_found_by_the_checker(loss, monkeypatch):
    problem, params = solved(loss, "none", "tail")
    down, up = enclosure.round_down, enclosure.round_up
    for name, other in (("round_down", up), ("round_up", down)):
        monkeypatch.setattr(enclosure, name, other)
        with pytest.raises(SystemExit):
            verify(on_file(ufm.prove(problem, params)))
        monkeypatch.undo()


class Wrong(ufm.MeanSquaredError):
    """Squared error with an interval form that is off by constants."""

    value: float = eqx.field(static=True, default=0.0)
    conjugate_off: float = eqx.field(static=True, default=0.0)

    def enclose(self, logits, target):
        return super().enclose(logits, target) + self.value

    def enclose_conjugate(self, dual, target):
        return super().enclose_conjugate(dual, target) + self.conjugate_off


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"conjugate_off": -1e-9}, "sum to less than uᵀz", id="conjugate"),
        pytest.param({"value": -1e-5}, "that `enclose` says is", id="value"),
        pytest.param({"value": 1e-5}, "that `enclose` says is", id="value-above"),
        pytest.param({"conjugate_off": np.nan}, "conjugate is infinite", id="not-a-number"),
    ],
)
def test_wrong_interval_forms_are_refused(options, message):
    problem, params = solved("mse", "none", "tail")
    wrong = eqx.tree_at(lambda p: p.loss, problem, Wrong(**options))
    with pytest.raises(
        ValueError,
        match=f"`problem.loss` must be .*Wrong.*{message}|`problem.loss`.*{message}.*Wrong",
    ):
        ufm.prove(wrong, params)


def test_a_conjugate_that_is_too_large_only_widens():
    problem, params = solved("mse", "none", "tail")
    wrong = eqx.tree_at(lambda p: p.loss, problem, Wrong(conjugate_off=1e-3))
    proved = ufm.prove(wrong, params)
    assert (
        ufm.prove(problem, params).lower - 1.1e-3
        < proved.lower
        < ufm.prove(problem, params).lower - 0.9e-3
    )


# --- other losses, refusals ---


class Scaled(AbstractLoss):
    """Twice the squared error, of a user: `interval` says whether it brings what a proof needs."""

    def __call__(self, logits, targets):
        return jnp.sum((logits - targets) ** 2, axis=0)

    def conjugate(self, dual, targets):
        return jnp.sum(dual**2 / 4 + targets * dual, axis=0)


class ScaledInBalls(Scaled):
    def enclose(self, logits, target):
        return sum((z - q) ** 2 for z, q in zip(logits, target, strict=True))

    def enclose_conjugate(self, dual, target):
        from flint import arb

        return sum((arb(u * u / 4 + q * u) for u, q in zip(dual, target, strict=True)), arb(0))


def test_a_loss_of_a_user_with_balls_is_proved():
    # twice the loss and twice the decay of squared error: twice its value
    plain, params = solved("mse", "none", "tail")
    twice = ufm.Problem(
        plain.labels,
        loss=ScaledInBalls(),
        widths=(d,),
        lambda_W=2 * plain.lambda_W,
        lambda_H=2 * plain.lambda_H,
    )
    proved, half = ufm.prove(twice, params), ufm.prove(plain, params)
    assert proved.closes(ROUNDING)
    np.testing.assert_allclose(proved.lower, 2 * half.lower, rtol=ROUNDING)
    assert on_file(proved)["problem"]["loss"] == {"name": "ScaledInBalls"}
    with pytest.raises(SystemExit, match=r"this knows .*, not ScaledInBalls"):
        verify(on_file(proved))


def test_a_loss_without_balls_is_named():
    plain, params = solved("mse", "none", "tail")
    problem = eqx.tree_at(lambda p: p.loss, plain, Scaled())
    with pytest.raises(
        ValueError,
        match=r"`problem.loss` must have an interval form, `enclose` and `enclose_conjugate`.*got "
        r"Scaled",
    ):
        ufm.prove(problem, params)


def large_problem():
    labels = ufm.one_hot((2,) * K, collapsed=True, sparse=True).in_chunks(1)
    return ufm.Problem(labels, loss=ufm.CrossEntropy(), widths=(d,), lambda_W=0.1, lambda_H=0.1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"widths": (d, d)}, r"one linear layer \(M = 1\)", id="depth"),
        pytest.param(
            {"loss": ufm.losses.Focal(2.0)},
            r"`problem.loss` must be convex.*Focal\(gamma=2\)",
            id="not-convex",
        ),
        pytest.param({"lambda_H": 0.0}, "`lambda_H` must be finite and > 0", id="no-decay"),
    ],
)
def test_refuses_what_certify_refuses(changes, message):
    options = {
        "loss": ufm.CrossEntropy(),
        "widths": (d,),
        "lambda_W": 0.1,
        "lambda_H": 0.1,
    } | changes
    problem = ufm.Problem(ufm.one_hot((2,) * K, collapsed=True), **options)
    params = ufm.Params(tuple(jnp.ones(shape) for shape in problem.weight_shapes), jnp.ones((d, K)))
    for judge in (ufm.certify, ufm.prove):
        with pytest.raises(ValueError, match=message):
            judge(problem, params)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        pytest.param(lambda p, x: ufm.prove(p, x, bits=52), "`bits` must be", id="bits"),
        pytest.param(
            lambda p, x: ufm.prove(large_problem(), x),
            "logits that fit as a whole for a proof .*; got 4 classes and 4 columns, in chunks",
            id="large",
        ),
        pytest.param(lambda p, x: ufm.prove(x, p), "`problem` must be .*Params", id="swapped"),
        pytest.param(lambda p, x: ufm.prove(p, p), "`params` must be .*Problem", id="no-params"),
        pytest.param(
            lambda p, x: jax.jit(lambda x: ufm.prove(p, x).upper)(x),
            "`params` must be known",
            id="traced",
        ),
        pytest.param(
            lambda p, x: ufm.prove(p, eqx.tree_at(lambda x: x.features, x, x.features * np.nan)),
            "`params.features` must be finite",
            id="not-finite",
        ),
    ],
)
def test_slips_are_named(call, message):
    problem, params = solved()
    with pytest.raises(ValueError, match=message):
        call(problem, params)


def test_without_flint_the_extra_is_named(monkeypatch):
    problem, params = solved()
    monkeypatch.setitem(sys.modules, "flint", None)
    with pytest.raises(
        ImportError, match=r"needs the interval library python-flint, the extra `ufm\[proofs\]`"
    ):
        ufm.prove(problem, params)


def test_the_precision_of_others_is_left_alone():
    import flint

    before = flint.ctx.prec
    ufm.prove(*solved())
    assert flint.ctx.prec == before
    assert problem_of().loss.convex
