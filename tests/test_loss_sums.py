"""Sums of losses: their values, and a conjugate that nobody has in closed form."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ufm
from tests.certificates.problems import checker
from ufm.losses import AdjustedCrossEntropy, Sum

T, ALPHA = 4.0, 0.3
COOL = AdjustedCrossEntropy(multiplicative=np.full(4, 1 / T))
SUMS = {
    "two-temperatures": Sum((ufm.CrossEntropy(), COOL), (ALPHA, (1 - ALPHA) * T**2)),
    "with-squared-error": Sum((ufm.CrossEntropy(), ufm.MeanSquaredError()), (1.0, 0.1)),
}


@pytest.mark.parametrize("name", SUMS)
def test_the_loss_is_what_it_says(name, key):
    report = ufm.check_loss(SUMS[name], num_classes=4, key=key)
    assert report.ok, report


def test_hard_and_soft_labels_are_one_target():
    rng = np.random.default_rng(0)
    z, hard, soft = rng.normal(size=4), np.eye(4)[1], rng.dirichlet(np.ones(4))
    target = (ALPHA * hard + (1 - ALPHA) * T * soft) / (ALPHA + (1 - ALPHA) * T)
    cross_entropy = ufm.CrossEntropy()
    apart = ALPHA * cross_entropy(jnp.asarray(z), jnp.asarray(hard))
    apart += (1 - ALPHA) * T**2 * cross_entropy(jnp.asarray(z / T), jnp.asarray(soft))
    together = SUMS["two-temperatures"](jnp.asarray(z), jnp.asarray(target))
    assert float(together) == pytest.approx(float(apart), rel=1e-14)


@pytest.mark.parametrize("name", SUMS)
def test_minima_are_certified(name, key):
    labels = ufm.labels.smoothed((6, 4, 3, 2), smoothing=0.2, collapsed=True)
    problem = ufm.Problem(
        labels, loss=SUMS[name], widths=(4,), lambda_W=0.02, lambda_H=0.01, bias="free"
    )
    solution = ufm.minimise(problem, key=key)
    certificate = ufm.certify(problem, solution.params)
    assert certificate.valid
    assert abs(float(certificate.gap)) < 1e-12


def test_a_minimum_is_proved(key):
    pytest.importorskip("flint")
    labels = ufm.one_hot((3, 2, 1, 1), collapsed=True)
    problem = ufm.Problem(
        labels, loss=SUMS["two-temperatures"], widths=(4,), lambda_W=0.05, lambda_H=0.05
    )
    enclosure = ufm.prove(problem, ufm.minimise(problem, key=key).params)
    assert enclosure.relative_width < 1e-13
    # it is written down with its parts, and the reader's checker does not take it for another one
    written = json.loads(json.dumps(enclosure.to_dict()))
    parts = [part["name"] for part in written["problem"]["loss"]["losses"]]
    assert parts == ["CrossEntropy", "AdjustedCrossEntropy"]
    with pytest.raises(KeyError, match="Sum"):
        checker().verify(written)


def test_parts_of_a_sum():
    alone = Sum((ufm.CrossEntropy(),))
    assert alone.canonical() == ufm.CrossEntropy()
    assert Sum((ufm.CrossEntropy(), COOL)).shift_invariant
    mixed = SUMS["with-squared-error"]
    assert not mixed.shift_invariant
    assert mixed.convex
    assert not Sum((ufm.CrossEntropy(), ufm.losses.Focal(2.0))).convex
    assert str(mixed) == "Sum(1 CrossEntropy() + 0.1 MeanSquaredError())"


def test_a_sum_that_is_not_convex_has_no_conjugate():
    loss = Sum((ufm.CrossEntropy(), ufm.losses.Focal(2.0)))
    with pytest.raises(ValueError, match="convex"):
        loss.conjugate(jnp.zeros(3), jnp.ones(3) / 3)


def test_a_sum_is_written_down_and_read_back():
    labels = ufm.one_hot((2, 1, 1, 1))
    problem = ufm.Problem(
        labels, loss=SUMS["two-temperatures"], widths=(4,), lambda_W=0.1, lambda_H=0.1
    )
    again = ufm.Problem.from_dict(problem.to_dict())
    z = jax.random.normal(jax.random.key(0), (4, 5))
    np.testing.assert_array_equal(again.loss(z, labels.targets), problem.loss(z, labels.targets))
