"""The plane of three classes against hand-made geometry, and channels against the equations of the
optimum."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ufm
from ufm.analysis.projection import channel_coordinates, three_class_projection

ROOT3 = np.sqrt(3)
# unit vectors of an upright triangle: lower right, lower left, top
TRIANGLE = np.array([[ROOT3 / 2, -ROOT3 / 2, 0.0], [-0.5, -0.5, 1.0]])


@pytest.mark.parametrize("K", [3, 4, 10])
@pytest.mark.parametrize("classes", [(0, 1, 2), (2, 0, 1)], ids=str)
def test_an_etf_becomes_an_upright_triangle(K, classes, key):
    W = ufm.simplex_etf(K, multiplier=1.7, dim=K + 2, key=key).T
    projection = three_class_projection(W, classes=classes)
    three = W[np.array(classes)]
    # isometric: the side of the triangle is the distance of two classifiers
    side = 1.7 * np.sqrt(2 * K / (K - 1))
    np.testing.assert_allclose(projection(three.T), TRIANGLE * side / ROOT3, rtol=0, atol=1e-13)
    assert int(projection.rank) == 2
    np.testing.assert_allclose(
        projection.matrix @ projection.matrix.T, np.eye(2), rtol=0, atol=1e-14
    )
    # the other classes of a global ETF fall on the centre, and the mean of the three is no shift in
    # the plane
    others = np.delete(np.asarray(W), classes, axis=0)
    np.testing.assert_allclose(projection(others.T), np.zeros((2, K - 3)), rtol=0, atol=1e-13)
    np.testing.assert_allclose(projection.matrix @ projection.origin, 0, rtol=0, atol=1e-13)


@pytest.mark.parametrize("seed", range(3))
def test_any_classifier(seed):
    """Orthogonal projection onto the plane of the three rows.

    Distances inside it stay, what is orthogonal to it goes.
    """
    rng = np.random.default_rng(seed)
    W = rng.normal(size=(5, 7))
    projection = three_class_projection(jnp.asarray(W), classes=(4, 1, 2))
    three = W[[4, 1, 2]]
    placed = np.asarray(projection(three.T))
    for i in range(3):
        for j in range(3):
            np.testing.assert_allclose(
                np.linalg.norm(placed[:, i] - placed[:, j]),
                np.linalg.norm(three[i] - three[j]),
                rtol=0,
                atol=1e-12,
            )
    # the mean of the three, not that of the features or of all classifiers, is the origin
    np.testing.assert_allclose(
        projection(three.mean(0)[:, None]), np.zeros((2, 1)), rtol=0, atol=1e-13
    )
    off_plane = np.linalg.svd(three - three.mean(0))[2][2:].T
    shifted = three.mean(0)[:, None] + off_plane
    np.testing.assert_allclose(projection(shifted), np.zeros((2, 5)), rtol=0, atol=1e-13)
    # Procrustes: no rotation of the plane brings the three closer to the triangle
    closeness = np.sum(placed * TRIANGLE)
    for angle in np.linspace(0.1, 6.2, 50):
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        for flip in (np.eye(2), np.diag([-1.0, 1.0])):
            assert np.sum((turn @ flip @ placed) * TRIANGLE) <= closeness + 1e-12


@pytest.mark.parametrize(
    ("rows", "rank"),
    [
        pytest.param(np.zeros((3, 4)), 0, id="zero"),
        pytest.param(np.ones((3, 4)), 0, id="all-equal"),
        pytest.param(np.array([[1.0, 0, 0, 0], [0, 0, 0, 0], [-1.0, 0, 0, 0]]), 1, id="on-a-line"),
        pytest.param(np.array([[1.0, 2, 0, 0], [1.0, 2, 0, 0], [0, 1, 0, 3]]), 1, id="two-equal"),
        pytest.param(np.array([[2.0], [0.0], [1.0]]), 1, id="d=1"),
        pytest.param(1e-9 * np.eye(3, 4), 2, id="tiny"),
        # 1e-6 of the largest counts as zero
        pytest.param(
            np.array([[1.0, 1e-6, 0, 0], [0, -2e-6, 0, 0], [-1.0, 1e-6, 0, 0]]),
            1,
            id="nearly-on-a-line",
        ),
    ],
)
def test_degenerate_classifiers(rows, rank):
    projection = three_class_projection(rows)
    assert int(projection.rank) == rank
    points = np.asarray(projection(np.random.default_rng(0).normal(size=(rows.shape[1], 20))))
    assert np.isfinite(points).all()
    assert (
        np.linalg.matrix_rank(
            points - projection.matrix @ -np.asarray(projection.origin)[:, None], tol=1e-9
        )
        == rank
    )
    np.testing.assert_allclose(
        projection(rows.mean(0)[:, None]), np.zeros((2, 1)), rtol=0, atol=1e-13
    )


def test_projection_under_jit(key):
    W = ufm.simplex_etf(4, dim=5, key=key).T
    np.testing.assert_allclose(
        jax.jit(lambda W: three_class_projection(W, classes=(1, 2, 3))(W.T))(W),
        three_class_projection(W, classes=(1, 2, 3))(W.T),
        rtol=0,
        atol=1e-14,
    )


def optimal_gaps(K, lam, s):
    """u_i, u_j of the optimum by bisection in t.

    Where t e^u + u − t = λ/s for each of the two and u_i + u_j = K t.
    """

    def gap(t, c):
        low, high = 0.0, c / s + t
        for _ in range(200):
            u = (low + high) / 2
            low, high = (u, high) if t * np.expm1(u) + u < c / s else (low, u)
        return u

    low, high = 0.0, 1 / (2 * s)
    for _ in range(200):
        t = (low + high) / 2
        low, high = (t, high) if gap(t, lam) + gap(t, 1 - lam) > K * t else (low, t)
    return gap(t, lam), gap(t, 1 - lam)


@pytest.mark.parametrize("K", [3, 5])
@pytest.mark.parametrize("lam", [0.5, 0.3, 0.9])
def test_channels_of_the_optimum(K, lam, key):
    """A fixed ETF, one mixed point, minimised: its width and depth are those of the optimum."""
    s, m, i, j = 1e-2, 1.3, 2, 0
    target = np.zeros((K, 1))
    target[i], target[j] = 1 - lam, lam
    labels = ufm.soft(target)
    W = ufm.simplex_etf(K, multiplier=m, dim=K, key=key).T
    problem = ufm.Problem(
        labels,
        loss=ufm.CrossEntropy(),
        widths=(K,),
        lambda_W=0.0,
        lambda_H=s * m**2 * K / (K - 1),
        fixed_weights=(W,),
    )
    solution = ufm.minimise(problem, key=key, throw=True)
    channels = channel_coordinates(solution.logits, labels)
    u_j, u_i = optimal_gaps(K, lam, s)
    assert (channels.pairs.first[0], channels.pairs.second[0], channels.pairs.lam[0]) == (j, i, lam)
    # the gradient is at 1e-12, the Hessian at least s
    np.testing.assert_allclose(
        [channels.width[0], channels.depth[0], channels.spread[0]],
        [u_j - u_i, u_i + u_j, 0],
        rtol=0,
        atol=1e-8,
    )


def test_channels_by_hand():
    targets = np.array(
        [[0.25, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.6], [0.75, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.4]]
    )
    logits = np.array(
        [[5.0, 1.0, 7.0, 1.0], [1.0, 1.0, 3.0, 4.0], [3.0, 9.0, 0.0, 3.0], [2.0, 1.0, 0.0, 5.0]]
    )
    channels = channel_coordinates(logits, ufm.soft(targets))
    np.testing.assert_array_equal(channels.pairs.first, [0, 2, 0, 1])
    np.testing.assert_array_equal(channels.pairs.second, [2, 2, 0, 3])
    np.testing.assert_array_equal(channels.pairs.same, [False, True, True, False])
    # the common logit: 1.5, 1, 1, 2
    np.testing.assert_array_equal(channels.width, [2.0, 8.0, 6.0, -1.0])
    np.testing.assert_array_equal(channels.depth, [5.0, 8.0, 6.0, 5.0])
    np.testing.assert_array_equal(channels.spread, [0.5, 0.0, 2.0, 1.0])


def test_two_classes_have_a_width_and_no_depth():
    channels = channel_coordinates(
        np.array([[1.0, 1.0], [-2.0, -3.0]]), ufm.soft(np.array([[0.8, 1.0], [0.2, 0.0]]))
    )
    np.testing.assert_array_equal(channels.width, [3, 4])
    np.testing.assert_array_equal(channels.depth, [np.nan, 4])
    np.testing.assert_array_equal(channels.spread, [np.nan, 0])


def test_channels_ignore_a_shift_of_the_logits():
    rng = np.random.default_rng(0)
    targets = np.zeros((4, 6))
    targets[1], targets[3] = np.linspace(0, 1, 6), np.linspace(1, 0, 6)
    labels, Z = ufm.soft(targets), rng.normal(size=(4, 6))
    here, there = (
        channel_coordinates(Z, labels),
        channel_coordinates(Z + rng.normal(size=(1, 6)), labels),
    )
    for name in ("width", "depth", "spread"):
        np.testing.assert_allclose(getattr(here, name), getattr(there, name), rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        pytest.param(
            lambda: three_class_projection(np.eye(2)),
            "`classifier` must have K >= 3 rows.*got 2",
            id="K=2",
        ),
        pytest.param(
            lambda: three_class_projection(np.ones(3)), "`classifier` must be a matrix", id="axes"
        ),
        pytest.param(
            lambda: three_class_projection(np.eye(4), classes=(0, 1)),
            "`classes` must be three different",
            id="two",
        ),
        pytest.param(
            lambda: three_class_projection(np.eye(4), classes=(0, 1, 1)),
            "`classes` must be three different",
            id="repeated",
        ),
        pytest.param(
            lambda: three_class_projection(np.eye(4), classes=(0, 1, 4)),
            r"`classes` must .*got \(0, 1, 4\)",
            id="outside",
        ),
        pytest.param(
            lambda: three_class_projection(np.eye(4), classes=(-1, 0, 1)),
            "`classes` must be three different",
            id="negative",
        ),
        pytest.param(
            lambda: three_class_projection(np.eye(4), classes=(0.0, 1.0, 2.0)),
            "`classes` must be three different",
            id="floats",
        ),
        pytest.param(
            lambda: three_class_projection(np.eye(4), tolerance=0.0),
            "`tolerance` must be finite and > 0",
            id="tolerance",
        ),
        pytest.param(
            lambda: three_class_projection(np.eye(4))(np.ones((3, 2))),
            "`columns` must have d = 4 rows",
            id="columns",
        ),
        pytest.param(
            lambda: channel_coordinates(np.ones((3, 2)), ufm.soft(np.eye(3))),
            "`logits` must have the shape",
            id="logits",
        ),
        pytest.param(
            lambda: channel_coordinates(np.eye(3), np.eye(3)),
            "`labels` must be ufm.Labels",
            id="labels",
        ),
        pytest.param(
            lambda: channel_coordinates(np.ones((3, 1)), ufm.soft(np.full((3, 1), 1 / 3))),
            "`labels` must mix at most two.*got 3",
            id="three",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
