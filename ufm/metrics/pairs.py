"""Statistics of all pairs of V class means, a tile at a time: running sums, never a V × V grid."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from ufm.batch.executor import run_blocks, worker_count

# A tile and what is made of it stay in the cache of a core.
_TILE = 512
# A squared distance this far below the squared lengths has lost digits to cancellation: two of the
# sixteen.
_CANCELLED = 1e-2
# Numbers of differences that exist at a time.
_AT_ONCE = 2**22


@dataclass
class Running:
    """Count, mean and sum of squared deviations of numbers, joined as those of Chan et al."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def add(self, other: Running) -> None:
        """Take in other numbers."""
        total = self.count + other.count
        if not total:
            return
        apart = other.mean - self.mean
        self.squares += other.squares + apart**2 * self.count * other.count / total
        self.mean += apart * other.count / total
        self.count = total

    @property
    def deviation(self) -> float:
        """The standard deviation."""
        return float(np.sqrt(self.squares / self.count)) if self.count else float("nan")


def running(values: np.ndarray) -> Running:
    """Of one array, which is used up."""
    mean = float(values.mean())
    values -= mean
    return Running(values.size, mean, float(np.vdot(values, values)))


@dataclass
class LogSum:
    """The logarithm of a sum of exponentials, as its largest term and what that is taken off."""

    top: float = -np.inf
    sum: float = 0.0

    def add(self, top: float, total: float) -> None:
        """Take in `total` times exp(`top`).

        Parameters
        ----------
        top
            The logarithm of the largest term.
        total
            The sum of the terms over that one.
        """
        largest = max(self.top, top)
        if largest == -np.inf:
            return
        self.sum = self.sum * np.exp(self.top - largest) + total * np.exp(top - largest)
        self.top = largest

    @property
    def log(self) -> float:
        """The logarithm."""
        return float(self.top + np.log(self.sum)) if self.sum else float("-inf")


@dataclass
class Pairs:
    r"""Over pairs c < c' of vectors $\mu$ with variances s.

    `ratio`, `ratio_squared`: of $(s_c+s_{c'})/2$ over $\|\mu_c-\mu_{c'}\|^2$ and over its square.
    `cosine`; `kernel`: of $-\log\|\tilde\mu_c-\tilde\mu_{c'}\|$, unit vectors; `riesz`: the sum of
    $\|\tilde\mu_c-\tilde\mu_{c'}\|^{-(d-2)}$. `etf`: the largest distance of a cosine from its
    value in a simplex. `coincident`: pairs no further apart than the floor.
    """

    ratio: Running = field(default_factory=Running)
    ratio_squared: Running = field(default_factory=Running)
    cosine: Running = field(default_factory=Running)
    kernel: Running = field(default_factory=Running)
    riesz: LogSum = field(default_factory=LogSum)
    etf: float = 0.0
    coincident: int = 0

    def add(self, other: Pairs) -> None:
        """Take in other pairs."""
        for name in ("ratio", "ratio_squared", "cosine", "kernel"):
            getattr(self, name).add(getattr(other, name))
        self.riesz.add(other.riesz.top, other.riesz.sum)
        self.etf = max(self.etf, other.etf)
        self.coincident += other.coincident


def pairs_of(vectors: np.ndarray, variances: np.ndarray, floor: float, *, tile=_TILE) -> Pairs:
    """All pairs of the rows of a matrix, in O(V d) memory.

    Parameters
    ----------
    vectors
        (V, d). One at zero has no direction, but it has distances.
    variances
        (V,), within each class.
    floor
        Vectors no further apart than this coincide.
    tile
        Rows of one block; blocks are joined in order, so that the sums are the same however many
        threads there are.

    Returns
    -------
    Pairs
        Of every two distinct rows.
    """
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    # a vector at the centre has no direction, but it has distances
    units = vectors / np.where(lengths > 0, lengths, 1)[:, None]
    work = functools.partial(_tile, vectors, units, lengths, variances, floor, tile)
    starts = range(0, len(vectors), tile)

    def row(first: int) -> Pairs:
        """Pairs of the vectors of one block with those of its own and of later ones."""
        return _joined(work((first, other)) for other in starts if other >= first)

    # NumPy lets go of the interpreter in each step; joined in order, so that the sums are the same
    # however many threads there are
    rows: dict[int, Pairs] = {}
    run_blocks(row, starts, worker_count(None), rows.__setitem__)
    return _joined(rows[number] for number in range(len(starts)))


def _joined(parts: Iterable[Pairs]) -> Pairs:
    everything = Pairs()
    for part in parts:
        everything.add(part)
    return everything


def _tile(vectors, units, lengths, variances, floor, tile, corner) -> Pairs:
    i, j = (slice(start, start + tile) for start in corner)
    V, d = vectors.shape
    halves = units[i] @ units[j].T
    # on the diagonal each pair once, and none with itself
    once = np.triu_indices(len(halves), 1) if corner[0] == corner[1] else ()
    cosines = _each(halves, once)
    if not cosines.size:
        return Pairs()
    np.subtract(1, halves, out=halves)
    _mend(halves, units, corner)
    halves = _each(halves, once)
    # ‖a − b‖² = (|a| − |b|)² + 2 |a| |b| (1 − cos)
    distances = _each(np.subtract.outer(lengths[i], lengths[j]), once)
    distances *= distances
    ratios = _each(np.multiply.outer(lengths[i], 2 * lengths[j]), once)
    ratios *= halves
    distances += ratios
    ratios = _each(np.add.outer(0.5 * variances[i], 0.5 * variances[j]), once)
    halves *= 2
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios /= distances
        squared = ratios / distances
        kernels = np.log(halves, out=halves)
        kernels *= -0.5
        return Pairs(
            ratio=running(ratios),
            ratio_squared=running(squared),
            riesz=_exponentials(kernels, d - 2) if d > 2 else LogSum(),
            kernel=running(kernels),
            etf=max(float(cosines.max()) + 1 / (V - 1), -float(cosines.min()) - 1 / (V - 1)),
            cosine=running(cosines),
            coincident=int(np.count_nonzero(distances <= floor**2)),
        )


def _each(grid: np.ndarray, once) -> np.ndarray:
    """The pairs of a tile in a row, a copy."""
    return grid[once] if once else grid.flatten()


def _exponentials(exponents: np.ndarray, power: int) -> LogSum:
    top = power * float(exponents.max())
    terms = power * exponents
    terms -= top
    return LogSum(top, float(np.exp(terms, out=terms).sum()))


def _mend(halves, units, corner) -> None:
    """1 − cos from differences of unit vectors, where it is small."""
    near = np.argwhere(halves < _CANCELLED)
    if corner[0] == corner[1]:
        near = near[near[:, 0] < near[:, 1]]
    size = max(_AT_ONCE // units.shape[1], 1)
    for start in range(0, len(near), size):
        rows, columns = near[start : start + size].T
        apart = units[corner[0] + rows] - units[corner[1] + columns]
        halves[rows, columns] = 0.5 * np.einsum("ij,ij->i", apart, apart)
