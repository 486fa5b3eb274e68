"""Codes on spheres: what is known of each, and the definitions computed another way."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import eval_gegenbauer

from ufm import frames
from ufm.frames.code import gegenbauer

ROOT5 = np.sqrt(5)
# (K, d, strength, inner products and how often each): Cohn & Kumar 2007, table 1
SHARP = (
    (4, 2, 3, {-1: 1, 0: 2}),
    (5, 2, 4, {np.cos(4 * np.pi / 5): 2, np.cos(2 * np.pi / 5): 2}),
    (6, 2, 5, {-1: 1, -1 / 2: 2, 1 / 2: 2}),
    (7, 2, 6, {np.cos(2 * np.pi * k / 7): 2 for k in (3, 2, 1)}),
    (8, 2, 7, {-1: 1, -np.sqrt(1 / 2): 2, 0: 2, np.sqrt(1 / 2): 2}),
    *((2 * d, d, 3, {-1: 1, 0: 2 * d - 2}) for d in (3, 4, 5, 6, 8)),
    (12, 3, 5, {-1: 1, -1 / ROOT5: 5, 1 / ROOT5: 5}),
    (16, 5, 3, {-3 / 5: 5, 1 / 5: 10}),
    (27, 6, 4, {-1 / 2: 10, 1 / 4: 16}),
    (56, 7, 5, {-1: 1, -1 / 3: 27, 1 / 3: 27}),
    (240, 8, 7, {-1: 1, -1 / 2: 56, 0: 126, 1 / 2: 56}),
    (112, 21, 3, {-1 / 3: 30, 1 / 9: 81}),
    (162, 21, 3, {-2 / 7: 56, 1 / 7: 105}),
    (275, 22, 4, {-1 / 4: 112, 1 / 6: 162}),
    (552, 23, 5, {-1: 1, -1 / 5: 275, 1 / 5: 275}),
    (891, 22, 5, {-1 / 2: 42, -1 / 8: 512, 1 / 4: 336}),
)
CODES = frames.sharp_codes()


def agrees(code, K, d, strength, products):
    assert (code.num_vectors, code.dim, code.strength) == (K, d, strength)
    np.testing.assert_allclose(code.inner_products, list(products), rtol=0, atol=5e-14)
    np.testing.assert_array_equal(code.multiplicities, list(products.values()))


PAIRS = [pytest.param(*pair, id=pair[0].name) for pair in zip(CODES, SHARP, strict=True)]


@pytest.mark.parametrize(("code", "known"), PAIRS)
def test_a_sharp_code_is_the_known_one(code, known):
    agrees(code, *known)
    assert code.sharp
    # no vector is special
    gram = np.sort(code.vectors @ code.vectors.T, axis=1)
    np.testing.assert_allclose(gram, np.broadcast_to(gram[0], gram.shape), rtol=0, atol=1e-13)


def test_the_largest_code():
    agrees(frames.leech_4600(), 4600, 23, 7, {-1: 1, -1 / 3: 891, 0: 2816, 1 / 3: 891})


@pytest.mark.parametrize("d", [2, 3, 7])
def test_a_simplex_is_a_sharp_code(d):
    agrees(frames.simplex(d), d + 1, d, 2, {-1 / d: d})


@pytest.mark.parametrize("K", [65, 66, 67, 200, 301])
def test_a_polygon_of_many_vertices_is_sharp(K):
    code = frames.polygon(K)
    assert (len(code.inner_products), code.strength, code.sharp) == (K // 2, K - 1, True)


def test_the_24_cell_is_not_sharp():
    code = frames.cell_24()
    agrees(code, 24, 4, 5, {-1: 1, -1 / 2: 8, 0: 6, 1 / 2: 8})
    assert not code.sharp
    assert "strength 5, not sharp" in str(code)


def test_one_vector_moved_ends_the_design():
    vectors = frames.icosahedron().vectors.copy()
    vectors[0] = vectors[0] + 1e-4 * vectors[1]
    vectors[0] /= np.linalg.norm(vectors[0])
    code = frames.Code("moved", vectors)
    assert (code.strength, code.sharp) == (0, False)
    assert code.multiplicities.sum() == pytest.approx(11)


def test_a_code_keeps_the_vectors_that_it_has_checked():
    vectors = np.eye(3)
    code = frames.Code("axes", vectors)
    vectors *= 2
    np.testing.assert_array_equal(code.vectors, np.eye(3))
    with pytest.raises(ValueError, match="read-only"):
        code.vectors[0] = 0


DESIGNS = (frames.icosahedron(), frames.polygon(5), frames.half_cube())


@pytest.mark.parametrize("code", DESIGNS, ids=[code.name for code in DESIGNS])
def test_strength_integrates_polynomials(code):
    """Up to its strength a design has the sphere's means of monomials, in any direction."""
    direction = np.random.default_rng(0).normal(size=code.dim)
    t = code.vectors @ direction / np.linalg.norm(direction)
    for degree in range(1, code.strength + 2):
        # the mean of t^(2j) is (1·3···(2j − 1)) / (d (d + 2)···)
        factors = [(2 * i + 1) / (code.dim + 2 * i) for i in range(degree // 2)]
        mean = 0.0 if degree % 2 else np.prod(factors)
        assert (abs(np.mean(t**degree) - mean) < 1e-13) == (degree <= code.strength)


@pytest.mark.parametrize("d", [2, 3, 5, 8])
def test_gegenbauer_polynomials(d):
    t = np.linspace(-1, 1, 9)
    for degree, values in enumerate(gegenbauer(6, d, t)):
        if d == 2:
            other = np.cos(degree * np.arccos(t))
        else:
            other = eval_gegenbauer(degree, d / 2 - 1, t) / eval_gegenbauer(degree, d / 2 - 1, 1)
        np.testing.assert_allclose(values, other, rtol=0, atol=5e-14)


def test_cross_entropy_is_the_sum_over_pairs():
    code, beta = frames.cell_24(), np.array([0.0, 2.0, 300.0])
    K = code.num_vectors
    losses = np.zeros(3)
    for k in range(K):
        others = [code.vectors[j] @ code.vectors[k] for j in range(K) if j != k]
        losses += np.log1p(sum(np.exp(beta * (t - 1)) for t in others)) / K
    np.testing.assert_allclose(code.cross_entropy(beta), losses, rtol=1e-13)
    assert code.cross_entropy(0.0) == pytest.approx(np.log(K), rel=1e-14)


def test_derived_codes_have_the_products_that_the_larger_one_leaves():
    r"""Projected and normalised, t becomes (t − s²)/(1 − s²)."""
    code, s = frames.root_system_e8(), 1 / 2
    left = (code.inner_products - s**2) / (1 - s**2)
    for t in frames.derived_code(code, s).inner_products:
        assert np.min(np.abs(left - t)) < 1e-14
    assert frames.derived_code(code, 0.0).num_vectors == 126


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: frames.Code("x", np.ones((3, 2))), "that differ from 1 by 4.1e-01"),
        (lambda: frames.Code("x", np.ones((3, 1))), "`vectors` must have K >= 2 rows of d"),
        (lambda: frames.derived_code(frames.half_cube(), 0.3), "`product` must be that of two"),
        (lambda: frames.derived_code(frames.polygon(5), 0.0), "in d >= 3 dimensions; got 2"),
        (lambda: frames.polygon(2), "`num_vectors` must be a whole number >= 3; got 2"),
        (lambda: frames.orthoplex(1), "`dim` must be a whole number >= 2; got 1"),
        (lambda: frames.icosahedron().cross_entropy(-1.0), "`beta` must be finite and >= 0"),
        (lambda: frames.polygon(5).moments(-1), "`degree` must be a whole number >= 0; got -1"),
        (lambda: frames.polygon(5).moments(1.5), "`degree` must be a whole number >= 0; got 1.5"),
    ],
)
def test_bad_input_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
