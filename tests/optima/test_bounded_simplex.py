"""The simplex of bounded lengths.

Against the minimiser and its certificate, at its limits, and what it refuses.
"""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pytest

import ufm
from ufm.domains import Ball, Budget, Nonnegative, Sphere


def make(counts=(3,) * 4, d=4, lambda_W=0.0, lambda_H=0.0, smoothing=0.0, **parts):
    K = len(counts)
    labels = ufm.soft((1 - smoothing) * np.eye(K) + smoothing / K, masses=counts)
    return ufm.Problem(
        labels, loss=ufm.CrossEntropy(), widths=(d,), lambda_W=lambda_W, lambda_H=lambda_H, **parts
    )


PROBLEMS = {
    "spheres": make(features=Sphere(2.0), classifier=Sphere(1.0)),
    "d=K-1": make(d=3, features=Sphere(2.0), classifier=Sphere(1.0)),
    "ball-budget": make(features=Ball(2.0), classifier=Budget(1.0)),
    "sphere-decay": make(features=Sphere(2.0), lambda_W=1e-2),
    "budget-decay-free-bias": make(features=Budget(20.0), lambda_W=1e-2, bias="free"),
    "decay-ball": make(classifier=Ball(2.0), lambda_H=1e-2),
    "smoothed": make(smoothing=0.1, features=Sphere(2.0), classifier=Sphere(1.0)),
    "smoothed-balls": make(smoothing=0.05, features=Ball(2.0), classifier=Ball(1.4)),
    "smoothed-decay": make(smoothing=0.1, features=Sphere(9.0), lambda_W=1e-3, bias="free"),
    "sphere-with-decay": make(features=Sphere(2.0), lambda_W=1e-2, lambda_H=0.3, bias=0.1),
}


@pytest.mark.lean("spheres", "d=K-1", "budget-decay-free-bias", "smoothed", "smoothed-decay")
@pytest.mark.parametrize("name", PROBLEMS)
def test_the_minimiser_and_the_certificate_agree(name):
    problem = PROBLEMS[name]
    solution = ufm.minimise(problem, key=jax.random.key(0))
    assert solution.result is ufm.Result.CONVERGED
    assert float(ufm.certify(problem, solution.params).gap) <= 1e-11
    comparison = ufm.compare(solution, ufm.closed_form(problem))
    assert comparison.ok, str(comparison)


def test_by_hand():
    """Two classes on the unit spheres: log(1 + exp(−2β))."""
    for beta in (0.5, 3.0):
        optimum = ufm.closed_form(make((1, 1), d=1, features=Sphere(beta), classifier=Sphere(1.0)))
        np.testing.assert_allclose(optimum.value, np.log1p(np.exp(-2 * beta)), rtol=1e-15)
        np.testing.assert_allclose(
            optimum.class_gram, beta**2 * np.array([[1, -1], [-1, 1]]), rtol=1e-14
        )
    # a long sphere and vanishing decay: the length grows like a logarithm, and the value is below
    # that of any one length
    light = ufm.closed_form(make((1, 1), features=Sphere(1.0), lambda_W=1e-6)).value
    lengths = np.linspace(0.1, 20, 4000)
    assert light <= np.min(np.log1p(np.exp(-2 * lengths)) + 1e-6 * lengths**2)


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        pytest.param(
            make((3, 2, 1), features=Sphere(2.0), classifier=Sphere(1.0)),
            "needs balanced classes",
            id="imbalanced",
        ),
        pytest.param(
            make((1,) * 7, d=3, features=Sphere(2.0), classifier=Sphere(1.0)),
            "needs d >= 6.*code_bound.*linear_programming_bound",
            id="narrow",
        ),
        pytest.param(
            make(features=Sphere((1.0, 1.0, 1.0, 2.0)), classifier=Sphere(1.0)),
            "needs one length for all vectors",
            id="radii",
        ),
        pytest.param(
            make(smoothing=0.1, features=Sphere(2.76), classifier=Sphere(1.0)),
            "needs lengths with r_W r_H <= 2.708",
            id="too-long",
        ),
        pytest.param(
            make(features=Ball(2.0), classifier=Sphere(1.0), lambda_H=0.1),
            "needs no decay beside the bound",
            id="ball-decay",
        ),
        pytest.param(
            make(features=Nonnegative(), classifier=Sphere(1.0), lambda_H=0.1),
            "nonnegative",
            id="nonnegative",
        ),
        pytest.param(
            make(features=Sphere(1.0), fixed_weights=(np.eye(4),)),
            "needs free weights",
            id="frozen",
        ),
    ],
)
def test_what_it_does_not_cover_is_named(problem, words):
    with pytest.raises(ufm.NoClosedForm, match=words):
        ufm.closed_form(problem)


@pytest.mark.parametrize("share", [0.999, 1.001])
def test_smoothed_labels_leave_the_simplex_where_it_says(share):
    """Of longer vectors the value is the entropy of the targets, which no lengths go below."""
    K, s = 4, 0.1
    longest = np.log1p(K * (1 - s) / s) * (K - 1) / K
    problem = make(smoothing=s, features=Sphere(share * longest), classifier=Sphere(1.0))
    value = float(ufm.minimise(problem, key=jax.random.key(0)).value)
    own, other = 1 - s + s / K, s / K
    entropy = -own * np.log(own) - (K - 1) * other * np.log(other)
    if share < 1:
        np.testing.assert_allclose(value, ufm.closed_form(problem).value, rtol=1e-12)
        assert value > entropy * (1 + 1e-8)
    else:
        np.testing.assert_allclose(value, entropy, rtol=1e-12)
        with pytest.raises(ufm.NoClosedForm, match="smoothed labels ask for shorter ones"):
            ufm.closed_form(problem)


def test_a_wrong_radius_is_refuted():
    """The optimum of another radius is not that of this problem, even if somebody says so."""
    problem = PROBLEMS["spheres"]
    solution = ufm.minimise(problem, key=jax.random.key(0))
    wrong = ufm.closed_form(problem.replace(features=Sphere(2.0 + 1e-5)))
    with pytest.raises(ValueError, match=r"which has features Sphere\(radius=2\); got Sphere"):
        ufm.compare(solution, wrong)
    wrong = dataclasses.replace(wrong, problem=problem)
    comparison = ufm.compare(solution, wrong)
    assert not comparison.ok
    assert "value" in str(comparison)
