"""A run that stops when its certificate closes."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pytest

import ufm
from ufm.solvers import proof

COUNTS = (40, 12, 5, 2, 1)


def problem(loss=None, **options) -> ufm.Problem:
    labels = ufm.one_hot(COUNTS, collapsed=True)
    settings = {"widths": (6,), "lambda_W": 1e-3, "lambda_H": 1e-3, **options}
    return ufm.Problem(labels, loss=loss or ufm.CrossEntropy(), **settings)


@pytest.mark.parametrize("gap", [1e-2, 1e-5, 1e-8])
@pytest.mark.parametrize("bias", [None, "free"])
def test_it_stops_when_it_is_proved(gap, bias, key):
    p = problem(bias=bias)
    whole = ufm.minimise(p, key=key)
    solution = ufm.minimise(p, key=key, gap=gap)
    assert whole.result == ufm.Result.CONVERGED
    assert whole.certificate is None
    assert solution.result == ufm.Result.PROVED
    assert solution.result.ok
    assert solution.certificate.closes(gap)
    # the certificate is that of the point, and it holds of the minimum
    assert float(ufm.certify(p, solution.params).gap) <= gap
    assert solution.certificate.lower_bound <= whole.value <= solution.value * (1 + 1e-14)
    assert solution.num_steps <= whole.num_steps
    if gap == 1e-2:
        assert solution.num_steps < whole.num_steps
    assert "relative gap" in str(solution)


@pytest.mark.parametrize(
    "options",
    [
        {"features": ufm.domains.Sphere(2.0)},
        {"features": ufm.domains.Ball(2.0), "classifier": ufm.domains.Ball(1.0)},
        {"loss": ufm.MeanSquaredError()},
    ],
    ids=["sphere", "balls", "squared-error"],
)
def test_whatever_has_a_certificate_can_be_proved(options, key):
    solution = ufm.minimise(problem(**options), key=key, starts=2, gap=1e-6, throw=True)
    assert solution.result == ufm.Result.PROVED
    assert len(solution.values) == 2


def test_a_gap_that_does_not_close_is_said(key):
    # two dimensions are too few for five classes
    solution = ufm.minimise(problem(widths=(2,), lambda_W=1e-4, lambda_H=1e-4), key=key, gap=1e-6)
    assert solution.result == ufm.Result.CONVERGED
    assert not solution.certificate.closes(1e-6)


def test_a_proved_run_goes_on(key):
    p = problem()
    proved = ufm.minimise(p, key=key, gap=1e-3)
    rest = ufm.minimise(p, resume=proved)
    assert rest.result == ufm.Result.CONVERGED
    np.testing.assert_allclose(rest.value, ufm.minimise(p, key=key).value, rtol=1e-13)


def test_ctrl_c_in_a_certificate_keeps_the_point(key, monkeypatch):
    p = problem()

    def stop(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(proof, "certify", stop)
        part = ufm.minimise(p, key=key, gap=1e-8)
    assert part.result is ufm.Result.INTERRUPTED
    assert part.certificate is None
    assert ufm.minimise(p, resume=part, gap=1e-8).result is ufm.Result.PROVED


def test_ctrl_c_between_two_certificates_keeps_the_point(key, monkeypatch):
    p = problem()
    first = ufm.minimise(p, key=key)
    runs = iter([dataclasses.replace(first, params=jax.tree.map(lambda x: 0.9 * x, first.params))])

    def run(wanted, before):
        for solution in runs:
            return solution
        raise KeyboardInterrupt

    part = proof.until_proved(run, p, 1e-8, 1e-12)
    assert part.result is ufm.Result.INTERRUPTED
    np.testing.assert_array_equal(part.params.features, 0.9 * first.params.features)
    with pytest.raises(KeyboardInterrupt):
        proof.until_proved(run, p, 1e-8, 1e-12)


@pytest.mark.parametrize(
    ("options", "gap", "message"),
    [
        ({"widths": (6, 6)}, 1e-8, r"`problem.widths` must have one entry.* got M=2"),
        ({"loss": ufm.losses.Focal(2.0)}, 1e-8, "certificate"),
        ({}, 0.0, r"`gap` must lie in \(0, 1\); got 0.0"),
        ({}, 2.0, r"`gap` must lie in \(0, 1\); got 2.0"),
    ],
    ids=["deep", "not-convex", "zero", "above-one"],
)
def test_what_cannot_be_proved_is_refused(options, gap, message):
    with pytest.raises(ValueError, match=message):
        ufm.minimise(problem(**options), key=jax.random.key(0), gap=gap)
