"""The one-vs-rest margin: values that are known, bounds, and the limit it comes from."""

from __future__ import annotations

import numpy as np
import pytest

from ufm import frames
from ufm.frames.margin import nearest_to_origin

ROUNDING = 1e-12


def unit_rows(*shape, seed=0):
    W = np.random.default_rng(seed).normal(size=shape)
    return W / np.linalg.norm(W, axis=1, keepdims=True)


# (id, code, the largest margin of so many vectors in this dimension)
OPTIMAL = (
    *((f"simplex-{d}", frames.simplex(d), (d + 1) / d) for d in (2, 3, 9)),
    *((f"polygon-{K}", frames.polygon(K), 1 - np.cos(2 * np.pi / K)) for K in (4, 5, 7, 12)),
    *((f"orthoplex-{d}", frames.orthoplex(d), 1.0) for d in (2, 3, 8)),
    # d + 2 <= K <= 2d: a part of the orthoplex that its centre is still inside of
    ("six-in-4", frames.Code("x", frames.orthoplex(4).vectors[[0, 1, 2, 3, 4, 5]]), 1.0),
)


@pytest.mark.parametrize(
    ("code", "margin"), [pytest.param(*case[1:], id=case[0]) for case in OPTIMAL]
)
def test_softmax_codes_have_their_margin(code, margin):
    assert frames.one_vs_rest_margin(code.vectors) == pytest.approx(margin, abs=ROUNDING)
    # … and no other vectors a larger one
    for seed in range(20):
        assert frames.one_vs_rest_margin(unit_rows(code.num_vectors, code.dim, seed=seed)) <= margin


@pytest.mark.parametrize("code", frames.sharp_codes()[:15], ids=lambda code: code.name)
def test_neighbours_of_a_sharp_code_hold_its_foot(code):
    """ρ = 1 − μ, because the mean of the nearest neighbours of w is μ w."""
    assert frames.one_vs_rest_margin(code.vectors) == pytest.approx(
        1 - code.inner_products[-1], abs=ROUNDING
    )


@pytest.mark.parametrize(("K", "d"), [(2, 3), (5, 2), (9, 3), (6, 5), (40, 4), (30, 10)])
def test_margin_lies_between_its_bounds(K, d):
    for seed in range(20):
        W = unit_rows(K, d, seed=seed)
        largest = np.max(W @ W.T - 2 * np.eye(K))
        margin = frames.one_vs_rest_margin(W)
        assert 1 - largest - ROUNDING <= margin <= np.sqrt(2 - 2 * largest) + ROUNDING


@pytest.mark.parametrize(("n", "d"), [(1, 3), (4, 2), (6, 5), (50, 3), (30, 29), (200, 10)])
def test_the_nearest_point_is_optimal(n, d):
    """Its own certificate: no row has a smaller height along it, so no hull of rows is nearer."""
    for seed in range(10):
        rng = np.random.default_rng(seed)
        points = rng.normal(size=(n, d)) + 1.5 * rng.normal(size=d)
        x = nearest_to_origin(points)
        norm = np.linalg.norm(x)
        size = np.max(np.linalg.norm(points, axis=1))
        assert norm < 1e-6 * size or np.min(points @ x) / norm >= norm - 1e-12 * size
        assert norm <= np.min(np.linalg.norm(points, axis=1))


def test_a_row_within_the_hull_of_others_has_no_margin():
    W = np.array([[1.0, 0], [0, 1], [-1, -1], [0, 0]])
    assert frames.one_vs_rest_margin(W) == pytest.approx(0, abs=ROUNDING)
    assert frames.one_vs_rest_margin(np.ones((3, 2))) == 0


@pytest.mark.parametrize("apart", [0.0, 1e-17, 1e-12, 1e-9, 1e-7])
def test_rows_that_nearly_coincide_come_to_an_end(apart):
    """Their hulls are thinner than rounding, and the search once went round in them for ever."""
    rng = np.random.default_rng(0)
    for _ in range(100):
        K, d = rng.integers(3, 8), rng.integers(1, 7)
        W = rng.normal(size=(K, d))
        twins = int(rng.integers(1, K))
        W[twins:] = W[twins - 1] + apart * rng.normal(size=(K - twins, d))
        assert frames.one_vs_rest_margin(W) <= np.linalg.norm(W[-1] - W[twins - 1]) + 1e-12


@pytest.mark.parametrize(
    "code", [frames.polygon(5), frames.icosahedron(), frames.cell_24()], ids=lambda code: code.name
)
def test_cross_entropy_tends_to_it(code):
    """−log L / β with the features that the margin names, log K / β away at most."""
    rho = frames.one_vs_rest_margin(code.vectors)
    for beta in (20.0, 200.0):
        assert -np.log(code.cross_entropy(beta)) / beta == pytest.approx(
            rho, abs=np.log(code.num_vectors) / beta
        )


@pytest.mark.parametrize("wrong", [np.ones((1, 3)), np.full((3, 2), np.nan), np.ones(3)])
def test_bad_input_is_named(wrong):
    with pytest.raises(ValueError, match="`classifier` must"):
        frames.one_vs_rest_margin(wrong)


@pytest.mark.parametrize("scale", [1e-300, 1e-170, 1e155, 1e300])
def test_rows_of_any_length_have_their_margin(scale):
    W = np.random.default_rng(0).normal(size=(5, 3))
    margin = frames.one_vs_rest_margin(scale * W)
    assert margin == pytest.approx(scale * frames.one_vs_rest_margin(W), rel=1e-14)


@pytest.mark.parametrize("height", [0.1, 1e-4, 1e-8])
def test_a_row_in_a_flat_hull_has_no_margin(height):
    """The first is an eighth, three eighths and a half of the others."""
    W = np.array([[0, 0], [1, height], [-1, height], [0.5, -height]])
    assert frames.one_vs_rest_margin(W) == pytest.approx(0, abs=ROUNDING)


def test_rows_beside_a_hull_and_in_it_are_told_apart():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        points = rng.normal(size=(6, 3))
        inside = points.T @ rng.dirichlet(np.ones(6))
        assert np.linalg.norm(nearest_to_origin(points - inside)) < ROUNDING
        # a plane below all of them, at a distance that is known
        points[:, 2] = np.abs(points[:, 2]) + 1e-9
        points[0] = 0, 0, 1e-9
        assert np.linalg.norm(nearest_to_origin(points)) == pytest.approx(1e-9, rel=1e-3)
