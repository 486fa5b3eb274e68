"""Equiangular bases: bounds that are attained, the smooth stand-in by hand, and kill and resume."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from ufm import frames
from ufm.frames import angles, equiangular
from ufm.frames.angles import smooth_coherence

# (id, N, d, the least coherence of all): equiangular tight frames, and lines that are known
KNOWN = (
    ("simplex", 5, 4, 1 / 4),
    ("icosahedron", 6, 3, 1 / np.sqrt(5)),
    ("28 lines", 28, 7, 1 / 3),
    ("lines in the plane", 7, 2, np.cos(np.pi / 7)),
)
# the last of the stages is at s = 1e5, where N² pairs move the optimum by log(N²)/s
STAND_IN = 1e-4


def rows(N, d, seed=0, dtype=np.float64):
    W = np.random.default_rng(seed).normal(size=(N, d)).astype(dtype)
    return W / np.linalg.norm(W, axis=1, keepdims=True)


def largest(W):
    """The slow twin: from the whole Gram matrix."""
    W = np.asarray(W, np.float64) / np.linalg.norm(np.asarray(W, np.float64), axis=1)[:, None]
    return np.max(np.abs(W @ W.T)[~np.eye(len(W), dtype=bool)])


@pytest.mark.parametrize(
    ("N", "d", "least"), [pytest.param(*case[1:], id=case[0]) for case in KNOWN]
)
def test_optimal_lines_are_found(N, d, least):
    basis = frames.equiangular_basis(N, d, key=jax.random.key(0))
    assert least - 1e-12 <= basis.coherence <= least * (1 + STAND_IN)
    assert basis.coherence == pytest.approx(largest(basis.vectors), rel=1e-14)
    assert basis.lower_bound <= basis.coherence * (1 + 1e-12)
    np.testing.assert_allclose(np.linalg.norm(basis.vectors, axis=1), 1, rtol=0, atol=1e-14)


# the last are the lines of `frames.equiangular_552`
TIGHT = ((6, 3, 1 / np.sqrt(5)), (28, 7, 1 / 3), (16, 6, 1 / 3), (5, 4, 1 / 4), (276, 23, 1 / 5))


@pytest.mark.parametrize(("N", "d", "least"), TIGHT)
def test_welch_is_attained_by_tight_frames(N, d, least):
    assert frames.welch_bound(N, d) == pytest.approx(least, rel=1e-14)


def test_levenshtein_is_attained_by_many_lines():
    """120 lines of the roots of E8 at 1/2, 12 of the 24-cell's at 1/2; it says nothing of few."""
    for code, lines in ((frames.root_system_e8(), 120), (frames.cell_24(), 12)):
        signs = code.vectors[np.lexsort(code.vectors.T)]
        assert frames.coherence(signs[:lines]) == pytest.approx(0.5)
    assert frames.levenshtein_bound(120, 8) == pytest.approx(0.5, rel=1e-14)
    assert frames.levenshtein_bound(12, 4) == pytest.approx(0.5, rel=1e-14)
    assert frames.levenshtein_bound(36, 8) == 0 < frames.welch_bound(36, 8)
    # where both speak it is the larger
    for d in (2, 3, 8, 20):
        for N in (d * (d + 1) // 2 + 1, d * d, d**3):
            assert frames.levenshtein_bound(N, d) > frames.welch_bound(N, d)


def test_few_vectors_are_orthonormal():
    basis = frames.equiangular_basis(5, 7, key=jax.random.key(1))
    np.testing.assert_allclose(basis.vectors @ basis.vectors.T, np.eye(5), rtol=0, atol=1e-14)
    assert basis.welch == basis.levenshtein == basis.num_steps == 0


@pytest.mark.parametrize("N", [7, 11, 12])
def test_tiles_say_what_the_gram_matrix_says(N, monkeypatch):
    """Value by its definition, gradient by differences; tiles of 4 rows, one of them cut."""
    monkeypatch.setattr(angles, "_TILE", 4)
    X, s = rows(N, 3), 20.0

    def value(Z):
        Z = Z / np.linalg.norm(Z, axis=1, keepdims=True)
        return np.log(np.sum(np.exp(s * np.abs((Z @ Z.T)[np.triu_indices(N, 1)])))) / s

    found, height, slope = smooth_coherence(X, s)
    assert found == pytest.approx(value(X), rel=1e-14)
    assert height == pytest.approx(largest(X), rel=1e-14)
    assert frames.coherence(X) == pytest.approx(largest(X), rel=1e-14)
    for i, j in ((0, 0), (3, 1), (4, 2), (N - 1, 0)):
        moved = np.zeros_like(X)
        moved[i, j] = 1e-6
        # central differences: the cube of a step, and rounding over it
        by_hand = (value(X + moved) - value(X - moved)) / 2e-6
        assert slope[i, j] == pytest.approx(by_hand, abs=1e-8)
    # far apart in size: what underflows is nothing
    assert smooth_coherence(X, 1e6)[0] == pytest.approx(height, rel=1e-12)


def test_what_is_shipped_is_measured():
    basis = frames.equiangular_basis(30, 6, key=jax.random.key(0), steps=40, dtype=np.float32)
    assert basis.vectors.dtype == np.float32
    assert basis.coherence == pytest.approx(largest(basis.vectors), rel=1e-14)
    assert basis.coherence < frames.coherence(rows(30, 6)) - 0.2
    assert "Welch" in str(basis)
    assert str(basis).startswith("30 vectors in R^6: coherence 0.")
    # lengths do not matter, not even where squares overflow
    stretched = 1e200 * basis.vectors.astype(float)
    assert frames.coherence(stretched) == pytest.approx(basis.coherence, rel=1e-14)


def test_steps_that_are_not_taken_do_not_count(monkeypatch):
    step, taken = equiangular._step, []

    def counted(*arguments):
        found = step(*arguments)
        taken.append(found is not None)
        return found

    monkeypatch.setattr(equiangular, "_step", counted)
    basis = frames.equiangular_basis(6, 3, key=jax.random.key(0), steps=300)
    # some stages end where rounding is all that is left
    assert not all(taken)
    assert basis.num_steps == sum(taken)


def test_a_kill_costs_one_stage(tmp_path, monkeypatch):
    """Interrupted within a stage, the same call goes on, and ends at the very same numbers."""
    call = dict(key=jax.random.key(3), steps=5)
    whole = frames.equiangular_basis(9, 3, **call)
    path, seen = tmp_path / "basis.npz", []

    def stop(X, sharpness, inner=smooth_coherence):
        seen.append(sharpness)
        if len(seen) == 40:
            raise KeyboardInterrupt
        return inner(X, sharpness)

    with monkeypatch.context() as patch:
        patch.setattr(equiangular, "smooth_coherence", stop)
        with pytest.raises(KeyboardInterrupt):
            frames.equiangular_basis(9, 3, **call, checkpoint=path)
        stages, seen[:] = len(set(seen)), [0.0] * 40
        again = frames.equiangular_basis(9, 3, **call, checkpoint=path)
    assert 3 <= stages <= 20
    # what was done is not done again
    assert len(set(seen[40:])) == 21 - stages + 1
    np.testing.assert_array_equal(again.vectors, whole.vectors)
    assert again.num_steps == whole.num_steps
    # a third call has nothing left to do
    assert frames.equiangular_basis(9, 3, **call, checkpoint=path).coherence == whole.coherence
    with pytest.raises(ValueError, match=r"must be of the same call; got other dim, steps"):
        frames.equiangular_basis(9, 4, key=jax.random.key(3), steps=6, checkpoint=path)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ValueError, match=r"`checkpoint`"):
        frames.equiangular_basis(9, 3, **call, checkpoint=path)


def test_a_checkpoint_that_cannot_be_written_is_refused_at_once(tmp_path, monkeypatch):
    def never(*args):
        raise AssertionError("ran")

    monkeypatch.setattr(equiangular, "smooth_coherence", never)
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "missing" / "basis.npz", tmp_path / "file" / "basis.npz"):
        with pytest.raises(ValueError, match="`checkpoint` must be the name of a file that can"):
            frames.equiangular_basis(9, 3, key=jax.random.key(3), checkpoint=path)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"`vectors` must have no row that is zero"):
        frames.coherence(np.eye(3)[:, :2])
    with pytest.raises(ValueError, match=r"`vectors` must have N >= 2 rows"):
        frames.coherence(np.ones((1, 3)))
