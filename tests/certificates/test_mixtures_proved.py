"""Proofs for domains, anchors and frozen weights: they close, hold, and no slip goes through."""

from __future__ import annotations

import copy

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

import ufm
from tests.certificates.problems import BOTH, MIXTURES, checker, make, mixed, on_file
from tests.extension.parts import Pinned
from ufm._exact.fractions import flint, fractions
from ufm.certificates import definite, enclosure
from ufm.domains import Ball, Budget, Nonnegative, Real, Sphere

verify = checker().verify
# K times the rounding of a float, several times over; for nonnegative features what a solve leaves
ROUNDING, FIRST_ORDER = 1e-13, 1e-12


@pytest.mark.lean(
    "sphere-sphere",
    "free-bias",
    "decay-ball-slack",
    "nonnegative-squared",
    "frozen-budget",
    "anchor-ball-budget",
)
@pytest.mark.parametrize("name", MIXTURES)
def test_enclosures_close_at_the_optimum_and_hold_elsewhere(name):
    problem, params = mixed(name)
    best = ufm.certificates.prove(problem, params)
    first_order = problem.features.nonnegative and not problem.frozen
    assert best.closes(FIRST_ORDER if first_order else ROUNDING)
    np.testing.assert_allclose(best.upper, float(ufm.certify(problem, params).value), rtol=1e-13)
    verify(on_file(best))
    free = problem.free_part(params)
    for seed, share in enumerate((1.0, 0.1, 1e-3, 1e-6)):
        start = ufm.solvers.random_start(problem, key=jax.random.key(seed), std=1.0)
        step = jax.tree.map(lambda a, b, t=share: a + t * (b - a), free, problem.free_part(start))
        other = ufm.certificates.prove(problem, problem.filled(problem.projected(step)))
        assert other.lower <= best.upper
        assert other.upper >= best.lower
        verify(on_file(other))


@pytest.mark.parametrize("beta", [0.1, 1.0, 10.0, 100.0])
def test_the_simplex_is_proved_at_any_temperature(beta):
    """log(1 + (K − 1) exp(−βK/(K − 1))), to 1e-54, inside an enclosure of a float's width."""
    problem = make(counts=(1,) * 5, features=Sphere(beta), classifier=Sphere(1.0))
    solution = ufm.minimise(problem, key=jax.random.key(2), progress=False)
    with mpmath.workdps(120):
        value = mpmath.log1p(4 * mpmath.exp(-mpmath.mpf(beta) * 5 / 4))
        proved = ufm.certificates.prove(problem, solution.params)
        assert mpmath.mpf(proved.lower) <= value <= mpmath.mpf(proved.upper)
    assert proved.closes(ROUNDING * max(beta, 1))
    verify(on_file(proved))


def test_the_width_is_of_second_order_in_the_error():
    problem, params = mixed("sphere-sphere")
    free = problem.free_part(params)
    step = jax.tree.map(
        lambda x: x * (1 + 1e-7 * jnp.cos(jnp.arange(x.size)).reshape(x.shape)), free
    )
    point = problem.filled(problem.projected(step))
    assert ufm.certificates.prove(problem, point).relative_width < 1e-11
    assert ufm.certify(problem, point).gap > 1e-9


def test_the_upper_end_is_the_value_on_the_sphere():
    """Not at the floats, whose lengths are off, but where they are brought to the radius."""
    problem, params = mixed("sphere-sphere")
    off = jax.tree.map(lambda x: x * (1 + 2e-15), params)
    for point in (params, off):
        proved = ufm.certificates.prove(problem, point)
        with mpmath.workdps(60):
            W = [[mpmath.mpf(x) for x in row] for row in np.asarray(point.weights[0]).tolist()]
            H = [[mpmath.mpf(x) for x in row] for row in np.asarray(point.features).T.tolist()]
            W, H = (
                [[r * x / mpmath.sqrt(sum(y * y for y in row)) for x in row] for row in rows]
                for rows, r in ((W, 1), (H, 2))
            )
            total = mpmath.mpf(0)
            for k, (h, m) in enumerate(zip(H, (5, 3, 1), strict=True)):
                z = [sum(x * y for x, y in zip(w, h, strict=True)) for w in W]
                total += m * mpmath.log(sum(mpmath.exp(x - z[k]) for x in z)) / 9
            assert mpmath.mpf(np.nextafter(proved.upper, 0)) < total <= mpmath.mpf(proved.upper)


# --- the exact twins of what domains say in floats ---

DOMAINS = {
    "real": Real(),
    "nonnegative": Nonnegative(),
    "ball": Ball((0.5, 1.0, 2.0)),
    "one-radius": Ball(1.5),
    "sphere": Sphere((0.5, 1.0, 2.0)),
    "budget": Budget(3.0),
    "weighted-budget": Budget(3.0, (1.0, 0.5, 4.0)),
}


def floats(numbers) -> list[float]:
    return [float(int(x.p) / int(x.q)) for x in map(flint().fmpq, numbers)]


@pytest.mark.parametrize("name", DOMAINS)
@pytest.mark.parametrize("size", [1e-6, 1.0, 1e3])
def test_exact_multipliers_and_points_are_those_in_floats(name, size):
    masses = jnp.asarray([5.0, 3.0, 1.0])
    domain = DOMAINS[name].fitted("features", (4, 3), masses)
    rng = np.random.default_rng(1)
    wanted, decay = jnp.asarray(size * rng.uniform(size=3)), 0.1 * masses
    exactly = domain.exact_curvature(fractions(wanted), fractions(decay))
    np.testing.assert_allclose(floats(exactly), domain.curvature(wanted, decay), rtol=1e-14)
    cost = domain.exact_allowance(exactly, fractions(decay))
    expected = domain.allowance(domain.curvature(wanted, decay), decay)
    np.testing.assert_allclose(floats([cost])[0], float(expected), rtol=1e-12, atol=1e-14 * size)
    vectors = size * jnp.asarray(rng.normal(size=(4, 3)))
    vectors = jnp.abs(vectors) if domain.nonnegative else vectors
    with flint().ctx.workprec(106):
        there = domain.enclose(fractions(np.asarray(vectors).T))
        entries = np.array([[float(x.mid()) for x in vector] for vector in there]).T
        np.testing.assert_allclose(entries, domain.project(vectors), rtol=1e-14)
        assert all(x.rad() < 1e-28 * max(size, 1) for vector in there for x in vector)
        squares = [sum(x * x for x in vector) for vector in there]
        if name in ("ball", "sphere"):
            radii = [r**2 for r in fractions(domain.radius)]
            inside = zip(squares, radii, strict=True)
            assert not any(square > radius for square, radius in inside)
        if name == "sphere":
            assert all(
                square.contains(radius) for square, radius in zip(squares, radii, strict=True)
            )
        if "budget" in name:
            used = sum(v * s for v, s in zip(fractions(domain.weights), squares, strict=True))
            assert not used > fractions(domain.energy)


# --- slips, which `prove` refuses or the checker finds ---


def test_a_point_that_is_not_brought_to_the_sphere_is_found(monkeypatch):
    problem, params = mixed("sphere-sphere")
    longer = jax.tree.map(lambda x: x * (1 + 4e-15), params)
    monkeypatch.setattr(Sphere, "enclose", Real.enclose)
    with pytest.raises((SystemExit, ValueError), match=r"NOT proved|above the value"):
        verify(on_file(ufm.certificates.prove(problem, longer)))


@pytest.mark.parametrize("name", ["sphere-sphere", "budget-ball", "decay-sphere"])
def test_multipliers_that_cost_too_little_are_found(name, monkeypatch):
    problem, params = mixed(name)
    of = definite.Multipliers.of

    def cheaper(*args):
        found = of(*args)
        return type(found)(
            found.rows,
            found.columns,
            found.cost * flint().fmpq(10**12 - 1, 10**12),
            found.room,
            found.nonnegative,
        )

    monkeypatch.setattr(enclosure.Multipliers, "of", cheaper)
    with pytest.raises((SystemExit, ValueError), match=r"NOT proved|above the value"):
        verify(on_file(ufm.certificates.prove(problem, params)))


@pytest.mark.parametrize("name", ["anchor", "frozen-ball", "anchor-frozen", "frozen-nonnegative"])
def test_a_quadratic_part_that_is_too_large_is_found(name, monkeypatch):
    problem, params = mixed(name)
    least = enclosure.least
    monkeypatch.setattr(enclosure, "least", lambda *args: least(*args) + 1e-14)
    with pytest.raises((SystemExit, ValueError), match=r"NOT proved|above the value"):
        verify(on_file(ufm.certificates.prove(problem, params)))


def less(number: float) -> float:
    return number * (1 - 1e-9)


def radius(data):
    radii = data["problem"]["classifier"]["radius"]
    radii[0] = less(radii[0])


def energy(data):
    data["problem"]["features"]["energy"] = less(data["problem"]["features"]["energy"])


def weights(data):
    data["problem"]["features"]["weights"][0] /= less(1)


def negative_radius(data):
    data["problem"]["classifier"]["radius"][0] *= -1


def a_row(data):
    data["multipliers"]["rows"][0] = "1/1000000000000"


def a_column(data):
    data["multipliers"]["columns"][0] = "1/3"


def free_rows(data):
    data["problem"]["classifier"] = {"name": "real"}


def another_domain(data):
    data["problem"]["features"] = {"name": "cube"}


def anchor(data):
    data["problem"]["anchor"][0][0] += 1e-7


def pull(data):
    data["problem"]["beta"] = less(data["problem"]["beta"])


def no_pull(data):
    data["problem"]["beta"] = None


def no_room(data):
    data["multipliers"]["room"] = "0"


def more_room(data):
    data["multipliers"]["room"] = "1/1"


def frozen(data):
    data["point"]["W"][0][0][0] += 1e-7


def no_decay(data):
    data["problem"]["lambda_H"] = 0.0


def signs(data):
    data["problem"]["features"] = {"name": "real"}


def a_negative_feature(data):
    data["point"]["H"][0][0] = -1e-9


def sharper(data):
    data["lower"] = float(np.nextafter(data["upper"], 0))


TAMPERINGS = [
    *[("budget-ball", change) for change in (radius, energy, weights, negative_radius, a_row)],
    *[("budget-ball", change) for change in (a_column, free_rows, another_domain, sharper)],
    *[("anchor", change) for change in (anchor, pull, no_pull, no_room, more_room)],
    ("frozen-ball", frozen),
    *[("frozen", change) for change in (a_column, no_decay, frozen)],
    *[("nonnegative", change) for change in (signs, a_negative_feature, a_row)],
    ("nonnegative-sphere", signs),
    ("frozen-nonnegative", a_negative_feature),
    ("frozen-nonnegative", signs),
]


@pytest.mark.parametrize(
    ("name", "change"),
    [pytest.param(*case, id=f"{case[0]}-{case[1].__name__}") for case in TAMPERINGS],
)
def test_what_has_been_touched_is_refused(name, change):
    data = on_file(ufm.certificates.prove(*mixed(name)))
    verify(copy.deepcopy(data))
    change(data)
    with pytest.raises(SystemExit, match="NOT proved"):
        verify(data)


# --- refusals ---


def test_a_domain_without_an_interval_form_is_named():
    problem = make(features=Pinned(1.0), lambda_W=1e-2, lambda_H=1e-2)
    start = ufm.solvers.random_start(problem, key=jax.random.key(0))
    with pytest.raises(ValueError, match=r"must have an interval form, `enclose`.*got Pinned"):
        ufm.certificates.prove(problem, start)


def test_a_point_outside_its_domain_is_refused():
    problem = make(**BOTH)
    start = ufm.solvers.random_start(problem, key=jax.random.key(0))
    with pytest.raises(ValueError, match="must have vectors of length `radius`"):
        ufm.certificates.prove(problem, jax.tree.map(lambda x: 1.1 * x, start))
