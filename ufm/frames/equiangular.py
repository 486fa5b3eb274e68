r"""Equiangular basis vectors: N unit vectors in $\mathbb R^d$, N > d, any two nearly orthogonal.

The largest $|w_i\cdot w_j|$ is what counts, and it has no gradient to speak of. Its smooth stand-in
$\frac1s\log\sum_{i<j}e^{s|w_i\cdot w_j|}$, at most $\frac1s\log\binom N2$ above it, is lowered by
L-BFGS on the directions $w/\|w\|$ while s grows: a small s spreads the vectors, a large one
polishes. Memory is that of some thirty matrices N × d.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from ufm._classes.module import Displayed
from ufm._host import random
from ufm._system.files import read_sealed, require_place, write_sealed, write_whole
from ufm._system.progress import Progress
from ufm._validate import (
    float_dtype,
    require,
    require_flag,
    require_key,
    require_path,
    require_whole,
)
from ufm.frames.angles import (
    coherence,
    directions,
    levenshtein_bound,
    smooth_coherence,
    welch_bound,
)
from ufm.frames.collapsed import random_orthonormal

# s of the stages: log N² over the last one is 1e-4 of the coherence.
_SHARPNESS = tuple(30 * 1.5**k for k in range(21))
# Pairs of L-BFGS; the share of the predicted decrease that a step must bring; the least step tried.
_MEMORY, _DECREASE, _SHORTEST = 10, 1e-4, 1e-4


@dataclasses.dataclass(frozen=True, eq=False)
class EquiangularBasis(Displayed):
    """What `equiangular_basis` found, beside what is possible at all.

    Parameters
    ----------
    vectors (N, d)
        Unit rows, in the dtype asked for.
    coherence
        The largest |w_i · w_j| of these very rows, normalised and multiplied in float64.
    welch, levenshtein
        Lower bounds on the coherence of any N vectors in d dimensions.
    num_steps
        Of L-BFGS, over all stages.
    """

    vectors: np.ndarray
    coherence: float
    welch: float
    levenshtein: float
    num_steps: int

    @property
    def lower_bound(self) -> float:
        """The larger of the two bounds."""
        return max(self.welch, self.levenshtein)

    def __str__(self) -> str:
        N, d = self.vectors.shape
        return (
            f"{N} vectors in R^{d}: coherence {self.coherence:.6f}; any has at least "
            f"{self.welch:.6f} (Welch), {self.levenshtein:.6f} (Levenshtein); "
            f"{self.num_steps} steps, {self.vectors.dtype}"
        )


def equiangular_basis(
    num_vectors: int,
    dim: int,
    *,
    key: PRNGKeyArray,
    steps: int = 300,
    dtype=None,
    checkpoint=None,
    progress: bool | None = None,
) -> EquiangularBasis:
    r"""N unit vectors whose largest $|w_i\cdot w_j|$ is as small as a local search makes it.

    Parameters
    ----------
    num_vectors, dim
        N >= 2 and d >= 2. For N <= d they are orthonormal, without a search.
    key
        Of the random start.
    steps
        The most steps of each of 21 stages. A step costs about $3N^2d$ operations.
    dtype
        float32 is twice as fast and good to about 1e-6; the default float unless given.
    checkpoint
        A file, written after every stage: the same call goes on there after a kill or Ctrl-C.
    progress
        Whether to show a line; on a terminal unless given.

    Returns
    -------
    EquiangularBasis
        `vectors` (N, d): as `fixed_weights=(jnp.asarray(basis.vectors),)` a classifier. A local
        minimum: another key gives another, and only `coherence == lower_bound` proves the best.

    Raises
    ------
    ValueError
        For N or d below 2, and a checkpoint that is damaged, of another call, or cannot be written.

    References
    ----------
    Shen, Sun & Wei 2023 (what is sought; their search lowers the excess over a target by gradient
    descent, recalled).
    """
    N = require_whole("num_vectors", num_vectors, least=2)
    d = require_whole("dim", dim, least=2)
    steps = require_whole("steps", steps)
    require_key("key", key)
    require_flag("progress", progress, optional=True)
    working = float_dtype(dtype)
    bounds = welch_bound(N, d), levenshtein_bound(N, d)
    if d >= N:
        rows = np.asarray(random_orthonormal(d, N, key=key, dtype=working)).T
        return EquiangularBasis(rows, coherence(rows), *bounds, num_steps=0)
    about = _about(N, d, steps, working, key)
    path = None if checkpoint is None else Path(require_path("checkpoint", checkpoint))
    search = (path and _found(path, about)) or _started(N, d, working, key)
    if path is not None and search.stage < len(_SHARPNESS):
        # now, not after a stage
        require_place("checkpoint", path)
    bar = Progress("equiangular_basis", total=len(_SHARPNESS) * steps, show=progress)
    try:
        for stage in range(search.stage, len(_SHARPNESS)):
            for done, height in search.lower(_SHARPNESS[stage], steps):
                bar.update(stage * steps + done, f"coherence {height:.6f}")
            search.stage = stage + 1
            if path is not None:
                _save(path, about, search)
    finally:
        bar.close()
    return EquiangularBasis(search.best, coherence(search.best), *bounds, search.num_steps)


class _Search:
    """Where the search is: the point and the best one, steps and stages that are done."""

    def __init__(self, point: np.ndarray, best: np.ndarray, stage: int, num_steps: int):
        self.point, self.best, self.stage, self.num_steps = point, best, stage, num_steps

    def lower(self, sharpness: float, steps: int) -> Iterator[tuple[int, float]]:
        """One stage of L-BFGS.

        Parameters
        ----------
        sharpness
            Of the smooth coherence that is lowered.
        steps
            At most so many.

        Returns
        -------
        Iterator[tuple[int, float]]
            After every step how many it has taken, and the least coherence so far.

        Notes
        -----
        A stage is done before its point is kept: an interrupted one starts again.
        """
        X, pairs = self.point, _Pairs()
        value, height, slope = smooth_coherence(X, sharpness)
        # (a stage is done before its point is kept: an interrupted one starts again)
        best, least, taken = self.best, math.inf if self.stage == 0 else coherence(self.best), 0
        while taken < steps:
            # the first step turns a row by about 0.1/s, over which the value is smooth
            length = 0.1 / sharpness * math.sqrt(len(X))
            direction = pairs.direction(slope, length)
            found = _step(X, value, slope, direction, sharpness)
            # rounding is all that is left of the decrease
            if found is None:
                break
            Z, value, height, new = found
            taken += 1
            pairs.take(Z - X, new - slope)
            X, slope = Z, new
            if height < least:
                best, least = X, height
            yield taken, least
        self.point, self.best, self.num_steps = X, best, self.num_steps + taken


class _Pairs:
    """Steps and changes of the gradient that L-BFGS remembers."""

    def __init__(self) -> None:
        self.pairs: list[tuple[np.ndarray, np.ndarray, float]] = []

    def take(self, step: np.ndarray, change: np.ndarray) -> None:
        """Remember a step, unless its curvature is negative or rounding and so no metric.

        Parameters
        ----------
        step, change
            What was added to the point, and what the gradient changed by.
        """
        curvature = _dot(step, change)
        # curvature that is negative, or rounding, is no metric
        if curvature > 1e-10 * math.sqrt(_dot(step, step) * _dot(change, change)):
            self.pairs = [*self.pairs[1 - _MEMORY :], (step, change, curvature)]

    def direction(self, gradient: np.ndarray, length: float) -> np.ndarray:
        """Downhill, by the two loops of Nocedal 1980.

        Parameters
        ----------
        gradient
            Where the step begins.
        length
            Of the direction while nothing is known.

        Returns
        -------
        np.ndarray
            Of the shape of the gradient.
        """
        q, shares = -gradient, []
        for step, change, curvature in reversed(self.pairs):
            shares.append(_dot(step, q) / curvature)
            q -= q.dtype.type(shares[-1]) * change
        if self.pairs:
            _, change, curvature = self.pairs[-1]
            q *= q.dtype.type(curvature / _dot(change, change))
        else:
            q *= q.dtype.type(length / max(math.sqrt(_dot(q, q)), 1e-30))
        for (step, change, curvature), share in zip(self.pairs, reversed(shares), strict=True):
            q += q.dtype.type(share - _dot(change, q) / curvature) * step
        return q


def _step(X, value: float, slope: np.ndarray, direction: np.ndarray, sharpness: float):
    """Unit rows that are low enough, halving the step, with what `smooth_coherence` says there."""
    rate, t = _dot(direction, slope), 1.0
    while rate < 0 and t >= _SHORTEST:
        Z = directions(X + X.dtype.type(t) * direction)
        found = smooth_coherence(Z, sharpness)
        if found[0] <= value + _DECREASE * t * rate:
            return Z, *found
        t /= 2
    return None


def _dot(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.vdot(a, b))


def _started(N: int, d: int, dtype: np.dtype, key: PRNGKeyArray) -> _Search:
    rows = directions(np.asarray(random.normal(key, (N, d), dtype)))
    return _Search(rows, rows, 0, 0)


def _about(N: int, d: int, steps: int, dtype: np.dtype, key: PRNGKeyArray) -> dict[str, Any]:
    """What makes two calls the same."""
    return {
        "kind": "equiangular_basis",
        "num_vectors": N,
        "dim": d,
        "steps": steps,
        "dtype": dtype.name,
        "key": np.asarray(jax.random.key_data(key)).tolist(),
    }


def _save(path: Path, about: dict[str, Any], search: _Search) -> None:
    counts = {"stage": search.stage, "num_steps": search.num_steps}
    arrays = {"point": search.point, "best": search.best}
    write_whole(path, lambda file: write_sealed(file, {**about, **counts}, arrays))


def _found(path: Path, about: dict[str, Any]) -> _Search | None:
    """The search of an earlier call, None where there is no file."""
    try:
        said, arrays = read_sealed(path)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return None
    except ValueError as error:
        raise ValueError(f"`checkpoint` {path}: {error}") from error
    wrong = [name for name in about if not isinstance(said, dict) or said.get(name) != about[name]]
    require(not wrong, f"`checkpoint` {path} must be of the same call", f"other {', '.join(wrong)}")
    return _Search(arrays["point"], arrays["best"], said["stage"], said["num_steps"])
