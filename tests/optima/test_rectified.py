"""ReLU structures: closed forms against minimisation, and networks that have these values."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize, minimize_scalar

import ufm
from ufm.optima.laws import (
    code_complexity,
    least_complexity,
    rectified_point,
    rectified_scale,
    rectified_structures,
    triple_complexity,
)
from ufm.optima.rectified_structures import best_blocks, complexity_of, rectified_sums


def simplex(K):
    return {"rank": K - 1, "largest": -1 / (K - 1), "smallest": -1 / (K - 1)}


def pairs(K):
    return {"rank": K // 2, "largest": 0.0, "smallest": -1.0}


def triangular(r):
    return {"rank": r - 1, "largest": (r - 4) / (2 * (r - 2)), "smallest": -2 / (r - 2)}


PENTAGON = {
    "rank": 2,
    "largest": np.cos(2 * np.pi / 5),
    "smallest": -np.cos(np.pi / 5),
}
# (K, numbers of the code, {L: κ/K}), found beforehand by minimising over singular values
TABLE = (
    pytest.param(4, pairs(4), {4: 1.0179, 5: 0.9674, 6: 0.9328, 8: 0.8887}, id="4-pairs"),
    pytest.param(8, pairs(8), {3: 1.0299, 4: 0.9320, 5: 0.8719, 6: 0.8314}, id="8-pairs"),
    pytest.param(10, pairs(10), {3: 1.0116, 4: 0.9112, 5: 0.8499, 6: 0.8087}, id="10-pairs"),
    pytest.param(10, triangular(5), {3: 1.0444, 4: 0.9014, 5: 0.8170, 6: 0.7617}, id="triangle-5"),
    pytest.param(36, triangular(9), {3: 1.0134}, id="triangle-9"),
    pytest.param(45, triangular(10), {3: 1.0}, id="triangle-10"),
    pytest.param(55, triangular(11), {3: 0.9859}, id="triangle-11"),
    pytest.param(5, PENTAGON, {4: 1.0851, 5: 0.9831, 6: 0.9161, 8: 0.8339}, id="pentagon"),
    pytest.param(7, simplex(7), {2: 1.0, 3: 1.0, 6: 1.0, 20: 1.0}, id="simplex"),
)


@pytest.mark.parametrize(("K", "code", "ratios"), TABLE)
def test_complexities_of_codes(K, code, ratios):
    found = [code_complexity(K, depth, **code) / K for depth in ratios]
    np.testing.assert_allclose(found, list(ratios.values()), rtol=0, atol=5.1e-5)


def test_complexities_of_the_triple():
    ratios = {
        3: 1.0817,
        4: 0.981883,
        5: 0.920523,
        6: 0.879056,
        8: 0.826658,
        10: 0.794952,
        16: 0.747076,
        24: 0.720342,
    }
    found = [triple_complexity(depth) / 3 for depth in ratios]
    np.testing.assert_allclose(found[1:], list(ratios.values())[1:], rtol=0, atol=5.1e-7)
    assert found[0] == pytest.approx(1.0817, abs=5.1e-5)
    assert triple_complexity(10**6) == pytest.approx(2, abs=1e-5)
    # a layer more is an identity on two directions, which costs two
    for L in range(3, 40):
        assert triple_complexity(L + 1) <= ((L + 1) * triple_complexity(L) + 2) / (L + 2)


def least_over_sizes(K, L, *, rank, largest, smallest):
    """κ by minimising over all singular values and the share of the ones, under nonnegativity."""
    q, omega = rank, np.sqrt(-rank * smallest)

    def cost(v):
        a, g = np.exp(v[0]), largest + v[1] ** 2
        s = np.concatenate([[0.0], v[2 : 1 + L], [np.log(a * K / q)]])
        o = np.concatenate([[0.0], v[1 + L :], [np.log(a * K * abs(g) + 1e-300)]])
        y = a * max(1 - g, 1e-9)
        ratios = q * np.exp(2 * np.diff(s)) + np.exp(2 * np.diff(o))
        return (ratios.sum() + K / y**2) / (L + 1)

    apart = {"type": "ineq", "fun": lambda v: (v[1 + L :] - v[2 : 1 + L] - np.log(omega))[1:]}
    start = np.concatenate([[0.0, 0.1], np.zeros(L - 1), np.full(L - 1, np.log(omega) + 0.1)])
    found = minimize(
        cost, start, constraints=apart, method="SLSQP", options={"maxiter": 2000, "ftol": 1e-15}
    )
    assert found.success
    return found.fun


@pytest.mark.parametrize(
    ("K", "code", "L"),
    [
        pytest.param(10, triangular(5), 4, id="bound-to-the-end"),
        pytest.param(28, triangular(8), 5, id="bound-at-the-first"),
        pytest.param(55, triangular(11), 3, id="free"),
        pytest.param(6, simplex(6), 4, id="simplex"),
        pytest.param(9, {"rank": 2, "largest": 0.766, "smallest": -0.9397}, 5, id="9-gon"),
    ],
)
def test_complexity_is_the_least_over_singular_values(K, code, L):
    assert code_complexity(K, L, **code) == pytest.approx(least_over_sizes(K, L, **code), rel=1e-7)


@pytest.mark.parametrize("largest", [-0.6, 1.0, 1.5])
def test_no_code_has_such_a_largest_inner_product(largest):
    with pytest.raises(ValueError, match="`largest` must be at least the smallest and less than 1"):
        code_complexity(4, 3, rank=2, largest=largest, smallest=-0.5)


@pytest.mark.parametrize("L", [3, 4, 6])
def test_the_triple_is_the_least_over_singular_values(L):
    def cost(v):
        theta, s, a = v[0], np.append(0.0, v[1 : L + 1]), np.append(0.0, v[L + 1 :])
        c, e = np.exp(s[-1]) * np.sin(theta) / np.sqrt(2), np.exp(s[-1]) * np.cos(theta)
        f = np.exp(a[-1]) / 2
        last = 2 / f**2 + 1 / e**2 + 2 * (c / (e * f)) ** 2
        return (np.exp(2 * np.diff(s)).sum() + np.exp(2 * np.diff(a)).sum() + last) / (L + 1)

    apart = {
        "type": "ineq",
        "fun": lambda v: (np.log(np.sin(v[0])) + v[1 : L + 1] - v[L + 1 :])[1 : L - 1],
    }
    found = minimize(
        cost,
        np.concatenate([[0.7], np.full(L, 0.1), np.full(L, -0.4)]),
        constraints=apart,
        bounds=[(0.1, 1.5)] + [(None, None)] * (2 * L),
        method="SLSQP",
        options={"maxiter": 2000, "ftol": 1e-15},
    )
    assert found.success
    assert triple_complexity(L) == pytest.approx(found.fun, rel=1e-7)


@pytest.mark.parametrize("L", [1, 2, 3, 7, 60, 300])
@pytest.mark.parametrize("share", [1e-6, 0.3, 0.95, 0.999999])
def test_the_value_is_the_least_over_scales(L, share):
    threshold = rectified_scale(2.5, strength=1.0, depth=L).threshold
    found = rectified_scale(2.5, strength=share * threshold, depth=L)

    def value(x):
        return (x - 1) ** 2 / 2 + (L + 1) / 2 * share * threshold * 2.5 * x ** (2 / (L + 1))

    brute = minimize_scalar(value, bounds=((L - 1) / L - 0.1, 1), options={"xatol": 1e-12})
    assert found.value == pytest.approx(min(brute.fun, 0.5), rel=1e-10)
    assert found.value < 0.5
    assert found.jump < found.scale < 1
    beyond = rectified_scale(2.5, strength=threshold * (1 + 1e-9), depth=L)
    assert (beyond.value, beyond.scale) == (0.5, 0.0)


@pytest.mark.parametrize(("K", "L"), [(2, 2), (2, 4), (10, 4)])
def test_the_threshold_in_the_product_of_the_decays(K, L):
    threshold = rectified_scale(K, strength=1.0, depth=L).threshold
    expected = (L - 1) ** (L - 1) / (K ** (L + 1) * L ** (2 * L))
    assert threshold ** (L + 1) == pytest.approx(expected, rel=1e-10)
    just_below = rectified_scale(K, strength=threshold * (1 - 1e-12), depth=L)
    assert just_below.scale == pytest.approx((L - 1) / L, abs=1e-5)
    assert just_below.value == pytest.approx(0.5, rel=1e-10)


POINTS = [
    (3, 3), (3, 4), (3, 9), (4, 4), (6, 4), (7, 5), (10, 4), (12, 3), (15, 4), (28, 5), (55, 3)
]  # fmt: skip


@pytest.mark.parametrize(("K", "L"), POINTS, ids=str)
def test_realised_structures_have_networks(K, L):
    for structure in rectified_structures(K, L):
        assert structure.num_classes == K
        assert structure.complexity >= least_complexity(K, L)
        if not structure.realised:
            with pytest.raises(ufm.NoClosedForm, match="needs a structure with a known network"):
                rectified_point(structure, lambda_W=1e-6, lambda_H=1e-6)
            continue
        rng, n = np.random.default_rng(K), 3
        # unequal decays with Λ = .3 of the threshold
        threshold = rectified_scale(structure.complexity, strength=1.0, depth=L).threshold
        decays = 0.3 * threshold * np.exp(rng.normal(size=L + 1))
        decays[-1] *= (0.3 * threshold / np.exp(np.mean(np.log(decays)))) ** (L + 1) / n
        problem = ufm.Problem(
            ufm.one_hot((n,) * K),
            loss=ufm.MeanSquaredError(),
            widths=(K + 1,) * L,
            lambda_W=tuple(decays[:-1]),
            lambda_H=decays[-1],
            activation="relu",
        )
        weights, features = rectified_point(
            structure,
            lambda_W=decays[:-1],
            lambda_H=decays[-1],
            samples_per_class=n,
            width=K + 1,
        )
        point = ufm.Params(
            tuple(jnp.asarray(W) for W in weights), jnp.asarray(np.repeat(features, n, axis=1))
        )
        best = rectified_scale(structure.complexity, strength=0.3 * threshold, depth=L)
        np.testing.assert_allclose(
            problem.logits(point), best.scale * np.repeat(np.eye(K), n, axis=1), rtol=0, atol=1e-12
        )
        assert float(ufm.model.objective(problem, point)) == pytest.approx(best.value, rel=1e-11)


def test_from_where_on_collapse_is_beaten():
    def beaten(K, L):
        best = next(s for s in rectified_structures(K, L) if s.realised)
        return best.complexity < K * (1 - 1e-9)

    assert not any(beaten(K, 2) for K in range(2, 60))
    # three matrices need twelve classes: 1 + 1/√6 < √2, as 289 > 288
    assert [beaten(K, 3) for K in range(2, 60)] == [K >= 12 for K in range(2, 60)]
    for L in range(4, 12):
        assert [beaten(K, L) for K in range(2, 40)] == [K >= 3 for K in range(2, 40)]


def test_complexities_of_groups_add():
    best = {K: rectified_structures(K, 4)[0] for K in (4, 7, 8, 11, 15)}
    assert best[4].blocks == (("triple", 3), ("collapse", 1))
    assert best[4].complexity == pytest.approx(triple_complexity(4) + 1, rel=1e-15)
    assert best[11].complexity <= best[4].complexity + best[7].complexity
    assert best[15].complexity <= best[8].complexity + best[7].complexity
    assert str(best[4]).startswith("triple of 3 + collapse of 1: complexity 3.9456")


def test_what_there_is_no_room_or_no_strength_for():
    triple = rectified_structures(3, 4)[0]
    with pytest.raises(ufm.NoClosedForm, match="needs width >= 3 for triple of 3; got width=2"):
        rectified_point(triple, lambda_W=1e-3, lambda_H=1e-3, width=2)
    with pytest.raises(ValueError, match="`lambda_W` must be so small that triple of 3 is better"):
        rectified_point(triple, lambda_W=1.0, lambda_H=1.0)
    with pytest.raises(ValueError, match=r"`lambda_W` must be one number or 4; got \(2,\)"):
        rectified_point(triple, lambda_W=(0.1, 0.1), lambda_H=0.1)


@pytest.mark.parametrize(("K", "L"), [(2, 4), (6, 4), (7, 5), (10, 3)])
def test_sums_of_blocks(K, L):
    """Cheapest first, each on all classes, and the best of them what dynamic programming finds."""
    sums = rectified_sums(K, L, most=6)
    assert all(structure.num_classes == K for structure in sums)
    kappas = [structure.complexity for structure in sums]
    assert kappas == sorted(kappas)
    assert len({structure.blocks for structure in sums}) == len(sums) <= 6
    realised = [s for s in ufm.laws.rectified_structures(K, L) if s.realised]
    assert kappas[0] == pytest.approx(realised[0].complexity, rel=1e-14)
    for structure in sums:
        assert structure.complexity == pytest.approx(
            sum(complexity_of(*block, L) for block in structure.blocks), rel=1e-14
        )


@pytest.mark.parametrize("L", [3, 4, 5])
def test_the_best_sum_is_the_first_of_all_sums(L):
    """At each number of classes, also where the last block ends at the last class."""
    for K in range(2, 14):
        assert best_blocks(K, L) == rectified_sums(K, L, most=1)[0].blocks
