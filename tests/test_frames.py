"""Frames against their definitions, and distances and projections against obvious or brute-force
versions."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ufm.frames import (
    centring_matrix,
    frame_distance,
    general_orthogonal_frame,
    gram_distance,
    nearest_etf,
    orthogonal_frame,
    random_orthonormal,
    simplex_etf,
)

# rounding: products and decompositions of matrices with a few dozen entries of size one
ROUNDING = 1e-14


def etf_gram_by_hand(K, m):
    gram = np.full((K, K), -(m**2) / (K - 1))
    np.fill_diagonal(gram, m**2)
    return gram


# (id, K, dim, rotated)
PLACES = (
    ("square", 4, None, False),
    ("square-rotated", 4, None, True),
    ("tight", 4, 3, False),
    ("tight-rotated", 4, 3, True),
    ("padded", 3, 7, False),
    ("wide-rotated", 5, 9, True),
    ("two-classes-on-a-line", 2, 1, True),
)
places = pytest.mark.parametrize(
    ("K", "dim", "rotated"), [pytest.param(*case[1:], id=case[0]) for case in PLACES]
)


@places
@pytest.mark.parametrize("m", [1.0, 0.3])
def test_simplex_etf_has_its_gram(K, dim, rotated, m, key):
    frame = simplex_etf(K, multiplier=m, dim=dim, key=key if rotated else None)
    assert frame.shape == (K if dim is None else dim, K)
    np.testing.assert_allclose(frame.T @ frame, etf_gram_by_hand(K, m), rtol=0, atol=ROUNDING)
    np.testing.assert_allclose(frame.sum(axis=1), 0, rtol=0, atol=ROUNDING)


def test_the_square_etf_has_rows_that_are_one_too():
    frame = simplex_etf(5, multiplier=2.0)
    np.testing.assert_allclose(frame, frame.T, rtol=0, atol=ROUNDING)
    np.testing.assert_allclose(frame @ frame.T, etf_gram_by_hand(5, 2.0), rtol=0, atol=ROUNDING)


def test_three_classes_are_a_triangle():
    frame = simplex_etf(3, dim=2)
    np.testing.assert_allclose(
        frame, [[np.sqrt(3) / 2, -np.sqrt(3) / 2, 0], [0.5, 0.5, -1]], rtol=0, atol=ROUNDING
    )


@pytest.mark.parametrize(("dim", "rotated"), [(None, False), (None, True), (6, False), (6, True)])
def test_general_orthogonal_frame_has_its_gram(dim, rotated, key):
    lengths = (2.0, 1.0, 0.0, 0.5)
    frame = general_orthogonal_frame(lengths, dim=dim, key=key if rotated else None)
    assert frame.shape == (4 if dim is None else dim, 4)
    np.testing.assert_allclose(
        frame.T @ frame, np.diag([4.0, 1.0, 0.0, 0.25]), rtol=0, atol=ROUNDING
    )


@pytest.mark.parametrize("rotated", [False, True])
def test_orthogonal_frame_has_its_gram(rotated, key):
    frame = orthogonal_frame(3, multiplier=0.7, dim=5, key=key if rotated else None)
    assert frame.shape == (5, 3)
    np.testing.assert_allclose(frame.T @ frame, 0.49 * np.eye(3), rtol=0, atol=ROUNDING)


def test_a_key_rotates_and_another_key_rotates_otherwise():
    frames = [simplex_etf(4, dim=6, key=jax.random.key(seed)) for seed in (0, 0, 1)]
    assert jnp.array_equal(frames[0], frames[1])
    assert jnp.max(jnp.abs(frames[0] - frames[2])) > 0.1


def test_random_bases_on_the_host_are_those_of_a_program(key):
    here = random_orthonormal(6, 4, key=key)
    compiled = jax.jit(lambda key: random_orthonormal(6, 4, key=key))(key)
    np.testing.assert_allclose(here, compiled, rtol=0, atol=5e-14)


def test_random_bases_are_uniform():
    """The mean of a Haar basis is zero and each squared entry has mean 1 / rows.

    QR without the sign correction fails the first by far.
    """
    bases = jax.vmap(lambda k: random_orthonormal(3, 2, key=k))(
        jax.random.split(jax.random.key(0), 4000)
    )
    # 4000 draws of standard deviation 1 / sqrt(3): five standard errors
    assert jnp.max(jnp.abs(bases.mean(axis=0))) < 5 / np.sqrt(3 * 4000)
    assert jnp.max(jnp.abs((bases**2).mean(axis=0) - 1 / 3)) < 5 * 0.3 / np.sqrt(4000)


@pytest.mark.parametrize(
    ("frame", "target", "expected"),
    [
        # cosine of the Grams I and P is sqrt((K - 1) / K), so the squared distance is 2 - 2
        # sqrt(3/4)
        pytest.param(
            orthogonal_frame(4), simplex_etf(4), np.sqrt(2 - np.sqrt(3)), id="of-from-etf"
        ),
        # Grams diag(1, 0) and I have cosine 1 / sqrt 2
        pytest.param(
            general_orthogonal_frame((3.0, 0.0)),
            orthogonal_frame(2),
            np.sqrt(2 - np.sqrt(2)),
            id="rank-one-from-of",
        ),
        # (9, 1) . (1, 1) / (sqrt 82 sqrt 2)
        pytest.param(
            general_orthogonal_frame((3.0, 1.0)),
            orthogonal_frame(2),
            np.sqrt(2 - 20 / np.sqrt(164)),
            id="gof-from-of",
        ),
    ],
)
def test_distances_by_hand(frame, target, expected, key):
    np.testing.assert_allclose(frame_distance(frame, target), expected, rtol=1e-13)
    # of other sizes, in another dimension, rotated
    rotated = 5.0 * random_orthonormal(9, frame.shape[0], key=key) @ frame
    np.testing.assert_allclose(frame_distance(rotated, target), expected, rtol=1e-13)
    # the classes in another order, in both
    order = np.random.default_rng(0).permutation(frame.shape[1])
    np.testing.assert_allclose(
        frame_distance(frame[:, order], target[:, order]), expected, rtol=1e-13
    )


@pytest.mark.parametrize("scale", [1.0, 1e-170, 1e170])
def test_a_frame_is_at_distance_zero_whatever_its_size(scale, key):
    frame = simplex_etf(4, dim=6, key=key)
    assert frame_distance(scale * frame, frame) < ROUNDING


def test_opposite_matrices_are_at_distance_two():
    np.testing.assert_allclose(gram_distance(3 * np.eye(2), -np.eye(2)), 2, rtol=ROUNDING)


def test_distance_of_zero_is_nan():
    assert jnp.isnan(frame_distance(jnp.zeros((3, 2)), jnp.eye(2)))
    assert jnp.isnan(gram_distance(jnp.eye(2), jnp.zeros((2, 2))))


def test_centring_matrix():
    np.testing.assert_allclose(centring_matrix(2), [[0.5, -0.5], [-0.5, 0.5]], rtol=0, atol=0)
    with pytest.raises(ValueError, match="`num_classes`"):
        centring_matrix(1)


# --- nearest ETF ---


@pytest.mark.parametrize(("K", "d"), [(2, 1), (3, 2), (4, 4), (5, 9)])
def test_nearest_etf_of_an_etf_is_itself(K, d, key):
    frame = simplex_etf(K, multiplier=2.5, dim=d, key=key)
    np.testing.assert_allclose(nearest_etf(frame), frame, rtol=0, atol=10 * ROUNDING)
    # a common shift of all columns is not part of the frame
    np.testing.assert_allclose(nearest_etf(frame + 3.0), frame, rtol=0, atol=10 * ROUNDING)


@pytest.mark.parametrize(("K", "d"), [(3, 2), (4, 6)])
def test_no_other_etf_is_nearer(K, d):
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((d, K))
    nearest = np.asarray(nearest_etf(vectors))
    m = np.linalg.norm(nearest[:, 0])
    np.testing.assert_allclose(
        nearest.T @ nearest, etf_gram_by_hand(K, m), rtol=0, atol=10 * ROUNDING
    )
    best = np.linalg.norm(vectors - nearest)
    # far: other orientations; near: small rotations and scalings, which a wrong factor in the scale
    # or a transposed basis would lose to
    for k in jax.random.split(jax.random.key(0), 200):
        other = np.asarray(random_orthonormal(d, d, key=k))
        small = np.linalg.qr(np.eye(d) + 1e-3 * rng.standard_normal((d, d)))[0]
        small *= np.sign(np.diag(small))[None, :]
        for rotation in (other, small):
            assert np.linalg.norm(vectors - rotation @ nearest) > best
    for factor in (0.999, 1.001):
        assert np.linalg.norm(vectors - factor * nearest) > best


def test_nearest_etf_commutes_with_rotations_and_scale(key):
    vectors = np.random.default_rng(1).standard_normal((4, 3))
    Q = random_orthonormal(6, 4, key=key)
    np.testing.assert_allclose(
        nearest_etf(2 * Q @ vectors), 2 * Q @ nearest_etf(vectors), rtol=0, atol=10 * ROUNDING
    )


def test_nearest_etf_of_zero_is_zero():
    assert jnp.all(nearest_etf(jnp.zeros((4, 3))) == 0)


def test_frames_run_under_jit_and_vmap(key):
    frames = jax.jit(jax.vmap(lambda m: simplex_etf(3, multiplier=m, dim=4, key=key)))(
        jnp.array([1.0, 2.0])
    )
    np.testing.assert_allclose(frames[1], 2 * frames[0], rtol=0, atol=ROUNDING)
    lengths = jnp.array([[1.0, 2.0], [3.0, 0.0]])
    frames = jax.jit(jax.vmap(general_orthogonal_frame))(lengths)
    np.testing.assert_allclose(frames, [np.diag(row) for row in lengths], rtol=0, atol=0)
    nearest = jax.jit(jax.vmap(nearest_etf))(frames)
    np.testing.assert_allclose(nearest[0], nearest_etf(frames[0]), rtol=0, atol=ROUNDING)


def test_dtype_is_kept():
    assert simplex_etf(3, dtype=np.float32, dim=5, key=jax.random.key(0)).dtype == np.float32
    assert orthogonal_frame(3, dtype="float32").dtype == np.float32
    assert nearest_etf(np.eye(3, dtype=np.float32)).dtype == np.float32


@pytest.mark.parametrize(
    ("call", "message"),
    [
        pytest.param(
            lambda: simplex_etf(1),
            "`num_classes` must be a whole number >= 2; got 1",
            id="one-class",
        ),
        pytest.param(lambda: simplex_etf(2.5), "`num_classes`", id="fractional-classes"),
        pytest.param(
            lambda: simplex_etf(4, dim=2),
            "`dim` must be a whole number >= 3; got 2",
            id="etf-dim-too-small",
        ),
        pytest.param(
            lambda: simplex_etf(4, multiplier=-1.0),
            "`multiplier` must be finite and > 0; got -1.0",
            id="negative-multiplier",
        ),
        pytest.param(
            lambda: simplex_etf(4, multiplier=[1.0] * 4),
            "`multiplier` must be one real number",
            id="many-multipliers",
        ),
        pytest.param(
            lambda: orthogonal_frame(4, dim=3),
            "`dim` must be a whole number >= 4; got 3",
            id="of-dim-too-small",
        ),
        pytest.param(lambda: orthogonal_frame(1), "`num_classes`", id="of-one-class"),
        pytest.param(
            lambda: orthogonal_frame(3, multiplier=np.inf), "`multiplier`", id="infinite-multiplier"
        ),
        pytest.param(
            lambda: general_orthogonal_frame([1.0]),
            "`lengths` must hold K >= 2",
            id="gof-one-class",
        ),
        pytest.param(
            lambda: general_orthogonal_frame([1.0, -1.0]),
            "`lengths` must be finite and >= 0",
            id="negative-length",
        ),
        pytest.param(
            lambda: general_orthogonal_frame([0.0, 0.0]),
            "`lengths` must not all be zero",
            id="no-length",
        ),
        pytest.param(
            lambda: general_orthogonal_frame(2.0),
            "`lengths` must be a sequence",
            id="scalar-length",
        ),
        pytest.param(
            lambda: general_orthogonal_frame([1.0, 2.0, 3.0], dim=2),
            "`dim`",
            id="gof-dim-too-small",
        ),
        pytest.param(
            lambda: random_orthonormal(2, 3, key=jax.random.key(0)),
            "`rows` must be a whole number >= 3",
            id="basis-too-wide",
        ),
        pytest.param(
            lambda: gram_distance(np.eye(2), np.eye(3)),
            "`target` must have the shape of `gram`",
            id="gram-shapes",
        ),
        pytest.param(
            lambda: gram_distance(np.ones(2), np.ones(2)), "`gram` must be a matrix", id="gram-rank"
        ),
        pytest.param(
            lambda: frame_distance(np.eye(2), np.eye(3)),
            "`frame` must have 2 columns",
            id="frame-columns",
        ),
        pytest.param(
            lambda: nearest_etf(np.ones((2, 4))),
            "`vectors` must have d >= K - 1 = 3 rows .*; got 2",
            id="nearest-d-too-small",
        ),
        pytest.param(
            lambda: nearest_etf(np.ones((2, 1))), "K >= 2 columns; got", id="nearest-one-class"
        ),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_float64_is_not_rounded_silently():
    jax.config.update("jax_enable_x64", False)
    try:
        with pytest.raises(ValueError, match="jax_enable_x64"):
            frame_distance(np.eye(2), np.eye(2))
    finally:
        jax.config.update("jax_enable_x64", True)


def test_frames_have_length_one_unless_told():
    np.testing.assert_array_equal(orthogonal_frame(3), np.eye(3))
    np.testing.assert_allclose(np.sum(np.asarray(simplex_etf(4)) ** 2, axis=0), 1, rtol=1e-15)
    np.testing.assert_allclose(
        np.sum(np.asarray(simplex_etf(4, dim=5)) ** 2, axis=0), 1, rtol=1e-14
    )
