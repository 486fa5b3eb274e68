"""`check_domain`: the library's domains pass, and of each kind of wrong domain it names what is
wrong; what leads out of itself makes no problem."""

from __future__ import annotations

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Float
from scipy.optimize import minimize

import ufm
from tests.extension.parts import Pinned
from ufm.domains import Ball, Budget, Nonnegative, Real, Sphere, check_domain
from ufm.domains.base import times


class Box(ufm.domains.AbstractDomain):
    """Entries of at most r, in coordinates r arcsin(x/r)."""

    compact: ClassVar[bool] = True
    isotropic: ClassVar[bool] = False

    r: Float[Array, ""] = eqx.field(converter=jnp.asarray)

    def distance(self, vectors):
        return max(float(np.max(np.abs(vectors) / np.asarray(self.r))) - 1, 0.0)

    @property
    def wanted(self):
        return "have entries of at most r"

    def project(self, vectors):
        return jnp.clip(vectors, -self.r, self.r)

    def unit(self, decay, share):
        return jnp.sqrt(share)

    def point(self, coordinates, unit):
        return self.r * jnp.sin(super().point(coordinates, unit) / self.r)

    def chart(self, vectors, unit):
        return super().chart(self.r * jnp.arcsin(vectors / self.r), unit)

    def scaled(self, factor):
        return type(self)(self.r * factor)


def asked(domain):
    return check_domain(domain, dim=4, num_vectors=3, key=jax.random.key(0))


@pytest.mark.lean("Real()", "Nonnegative()", "Sphere(radius=[1, 2, 3])", "Box(r=0.3)")
@pytest.mark.parametrize(
    "domain",
    [Real(), Nonnegative(), Sphere((1.0, 2.0, 3.0)), Ball(2.0), Budget(4.0), Pinned(0.7), Box(0.3)],
    ids=str,
)
def test_domains_whose_methods_agree_pass(domain):
    report = asked(domain)
    assert report.ok, str(report)
    first = f"{domain}, 3 vectors of length 4, float64: nothing wrong\nok      shapes"
    assert str(report).startswith(first)


def of(base, **methods):
    """A domain with something else in place of what its base has."""
    return type("Other", (base,), methods)


def straight(self, coordinates, unit):
    return times(coordinates, 1 / unit)


WRONG = (
    ("shapes", of(Box, point=lambda self, y, unit: y[1:]), "`point` must give an array of shape"),
    ("point", of(Box, point=straight), "what `point` gives must have entries of at most r; got"),
    ("project", of(Box, project=lambda self, x: x), "what `project` gives must have entries"),
    ("chart", of(Box, chart=lambda self, x, unit: times(x, unit)), "`point` of `chart` is another"),
    ("distance", of(Box, distance=lambda self, x: 0.0), "`distance` must be > 0 of vectors"),
    ("unit", of(Box, unit=lambda self, decay, share: jnp.sqrt(decay)), "`unit` must be > 0, of a"),
    ("retract", of(Box, retract=lambda self, y, unit: 2 * y), "`point` of `retract` is another"),
    ("start", of(Box, start=lambda self, x: x), "what `start` gives must have entries"),
    ("redundant", of(Pinned, redundant=lambda self, number: 0), "must be the 3 directions"),
    ("spherical", of(Box, spherical=True), "`shadow` is not the point"),
    ("scaled", of(Box, scaled=lambda self, factor: self), "3 times its vectors, for `scaled`"),
    ("isotropic", of(Box, isotropic=True), "so `isotropic` must be False"),
    ("means", of(Sphere, holds_means=lambda self, masses: True), "means, for `holds_means`, must"),
    ("smooth", of(Box, smooth=True, project=lambda self, x: self.r * jnp.tanh(x)), "`project`"),
    ("walled", of(Ball, leaving=lambda self, x, v: jnp.sum(x * v, axis=0)), "`leaving` is not"),
    (
        "multipliers",
        of(Ball, allowance=lambda self, curvature, decay: jnp.zeros(())),
        "`allowance` is less than",
    ),
    ("linear", of(Pinned, linear=lambda self, x, g: (g, 0.0)), "`linear` is another number"),
    ("signs", of(Box, facing=lambda self, g: jnp.minimum(g, 0)), "`facing` is above the slope"),
    ("signs", of(Real, gram=lambda self, gram: gram - 1), "`gram` is too small"),
)


@pytest.mark.parametrize(("question", "wrong", "words"), WRONG, ids=[w[2] for w in WRONG])
def test_what_is_wrong_is_named(question, wrong, words):
    base = wrong.__mro__[1]
    report = asked(wrong() if base is Real else wrong(0.3))
    (why,) = [finding.why for finding in report.findings if finding.question == question]
    assert question in report.wrong, str(report)
    assert words in why, str(report)


@pytest.mark.parametrize(
    ("methods", "words"),
    [
        ({"point": straight}, "what `point` gives must have entries of at most r; got vectors"),
        ({"project": lambda self, x: x}, "what `project` gives must have entries"),
        ({"chart": lambda self, x, unit: times(x, unit)}, "`point` of `chart` is another point"),
    ],
    ids=["point", "project", "chart"],
)
@pytest.mark.parametrize("factor", ["features", "classifier"])
def test_what_leads_out_of_itself_makes_no_problem(factor, methods, words):
    """A solver goes where `point` leads, and said of that that it had converged."""
    given = {"loss": ufm.MeanSquaredError(), "widths": (4,), "lambda_W": 0.02, "lambda_H": 0.02}
    with pytest.raises(ValueError, match=f"`{factor}` must be a domain whose methods agree") as no:
        ufm.Problem(
            ufm.one_hot([2, 1, 1], collapsed=True), **given, **{factor: of(Box, **methods)(0.3)}
        )
    assert words in str(no.value)


def test_a_box_is_solved_as_with_bounds():
    labels = ufm.one_hot([1, 1, 1])
    given = {"loss": ufm.MeanSquaredError(), "widths": (4,), "lambda_W": 0.02, "lambda_H": 0.02}
    problem = ufm.Problem(labels, **given, features=Box(0.3))
    free = problem.replace(features=Real())

    @jax.jit
    @jax.value_and_grad
    def value(flat):
        return ufm.model.objective(
            free, ufm.Params((flat[:12].reshape(3, 4),), flat[12:].reshape(4, 3))
        )

    solution = ufm.minimise(problem, key=jax.random.key(0))
    assert solution.result is ufm.Result.CONVERGED
    start, bounds = (
        np.random.default_rng(0).normal(size=24) / 4,
        [(None, None)] * 12 + [(-0.3, 0.3)] * 12,
    )
    best = minimize(
        lambda x: tuple(map(np.asarray, value(x))),
        start,
        jac=True,
        bounds=bounds,
        options={"ftol": 1e-15, "gtol": 1e-10},
    )
    np.testing.assert_allclose(solution.value, best.fun, rtol=1e-8)
