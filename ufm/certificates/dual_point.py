r"""Dual logits that satisfy every constraint exactly, made from floats that nearly do.

The bound of `ufm.certify` holds for dual logits u inside the domain of the conjugates, with a free
bias those with $\sum_c\omega_c u_c=0$, whose V is small enough (`ufm.certificates.definite`).
Write $\omega_c = a_c/S$ with $a_c = m_c w_c$ and $S = \sum_c a_c$. All of it is about the
*weighted* dual logits $y_c = a_c u_c$, which are taken as integers on one binary grid:

- A softmax loss: the *weighted shares* $x_c = a_c(q_c + u_c/\Delta)$ must be $\ge 0$ and have the
  sum of $a_c q_c$. A column is rounded to the grid, and its largest share makes up for the rest.
- A free bias: $\sum_c y_c = 0$ is an equation between integers, although the weights $a_c/S$ are no
  binary fractions. Where conjugates are finite everywhere, the column of largest weight answers for
  the rest. Shares must have the row sums $\sum_c a_c q_{kc}$: a class that has too much gives it,
  column by column and from its largest shares, to classes that have too little. That keeps the sums
  of the columns and takes from a share no more than it holds, so it succeeds at every point. Where
  columns drop classes it gives by way of others, each step in a column that keeps both. There is
  always a way: what distinguishes shares from the targets, which have these sums and are kept, is
  a flow from classes that have too much to classes that have too little.

How the floats were found, and how good they are, decides how close the bound comes, never whether
it holds.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable
from typing import Any

import numpy as np

from ufm._exact.fractions import Exact, flint, fractions
from ufm.model import Problem

# Bits of the grid beyond those of the balls.
GUARD = 32


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Data(Exact):
    """What the constraints are made of, as exact fractions: every float is read as the one it is.

    `targets`: q, K rows. `kept`: whether a column keeps a class, K rows. `column`: a = m w (C,).
    `total`: S. `scale`: Δ (K,) of a softmax loss, else None (also for a sum of softmax losses that
    scale classes differently, whose conjugate is finite around every gradient). `free_bias`:
    whether y must sum to zero. `operator`: A, C rows, of logits W H A, else None. `temperature`: of
    logits that are a Gram over it, else None.
    """

    targets: list[list[Any]]
    kept: list[list[bool]]
    column: list[Any]
    total: Any
    scale: list[Any] | None
    free_bias: bool
    operator: list[list[Any]] | None
    temperature: Any

    @classmethod
    def of(cls, problem: Problem) -> Data:
        """Those of a problem."""
        labels, column = problem.labels, fractions(problem.labels.masses)
        if labels.weights is not None:
            column = [m * w for m, w in zip(column, fractions(labels.weights), strict=True)]
        operator = problem.map.operator(labels.num_columns, problem.dtype)
        gram, kept = problem.map.gram, np.ones(labels.targets.shape, dtype=bool)
        if labels.offsets is not None:
            kept = np.asarray(labels.offsets) > -np.inf
        return cls(
            targets=fractions(labels.targets),
            kept=kept.tolist(),
            column=column,
            total=sum(column),
            scale=problem.loss.exact_share_scale(labels.num_classes),
            free_bias=problem.free_bias,
            operator=None if operator is None else fractions(operator),
            temperature=None if gram is None else fractions(gram.temperature),
        )

    @functools.cached_property
    def weighted_targets(self) -> list[list[Any]]:
        """a q, K rows."""
        return [[a * q for a, q in zip(self.column, row, strict=True)] for row in self.targets]


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class DualPoint(Exact):
    """Weighted shares x of a softmax loss, else weighted dual logits y.

    `entries`: K rows of integers, to be divided by 2**`exponent`.
    """

    data: Data
    entries: list[list[int]]
    exponent: int

    @classmethod
    def near(cls, dual: np.ndarray, data: Data, bits: int) -> DualPoint:
        """Dual logits moved into the domain, and to where a free bias allows.

        Parameters
        ----------
        dual
            (K, C), in floats.
        data
            The labels, exactly.
        bits
            Of the balls that the grid is to be fine enough for.

        Returns
        -------
        DualPoint
            On a grid that holds what must be on it.
        """
        # the grid holds what must be on it, and is fine enough for balls of this many bits
        needed = [] if data.scale is None else data.weighted_targets
        finest = max((int(x.q).bit_length() - 1 for row in needed for x in row), default=0)
        exponent = max(finest, bits + GUARD - log2(data.total))
        # the conjugate is finite only where a class that is dropped has zero, not nearly so
        rows = fractions(np.where(data.kept, np.nan_to_num(dual, posinf=0, neginf=0), 0))
        grid = [a * 2**exponent for a in data.column]
        moved = [[int(u * a) for u, a in zip(row, grid, strict=True)] for row in rows]
        if data.scale is None:
            if data.free_bias:
                _close_rows(moved, data.column)
            return cls(data, moved, exponent)
        wanted = [_on_grid(row, exponent) for row in data.weighted_targets]
        x = [
            [max(0, w + int(y / delta)) for w, y in zip(at, row, strict=True)]
            for at, row, delta in zip(wanted, moved, data.scale, strict=True)
        ]
        for c, column in enumerate(zip(*wanted, strict=True)):
            _close_column(x, data.kept, c, sum(column))
        if data.free_bias:
            _balance_rows(x, data.kept, [sum(row) for row in wanted])
        return cls(data, x, exponent)

    @functools.cached_property
    def weighted_dual(self) -> tuple[Any, int]:
        """y as an integer matrix and the exponent of its grid."""
        fmpz_mat, data = flint().fmpz_mat, self.data
        rows, bits = self.entries, 0
        if data.scale is not None:
            bits = max(int(delta.q).bit_length() - 1 for delta in data.scale)
            scales = _on_grid(data.scale, bits)
            wanted = [_on_grid(row, self.exponent) for row in data.weighted_targets]
            pairs = [zip(*both, strict=True) for both in zip(rows, wanted, strict=True)]
            rows = [[d * (x - w) for x, w in row] for d, row in zip(scales, pairs, strict=True)]
        return fmpz_mat(rows), self.exponent + bits

    @functools.cached_property
    def pulled(self) -> tuple[Any, int]:
        """Y Aᵀ, the weighted slopes in the product of the factors, in the same form."""
        y, exponent = self.weighted_dual
        if self.data.operator is None:
            return y, exponent
        rows = self.data.operator
        bits = max(int(x.q).bit_length() - 1 for row in rows for x in row)
        A = flint().fmpz_mat([_on_grid(row, bits) for row in rows])
        return y * A.transpose(), exponent + bits

    def columns(self) -> list[list[Any]]:
        """The dual logits u_c = y_c / a_c of each column, as exact fractions."""
        fmpq, (y, exponent) = flint().fmpq, self.weighted_dual
        weights = [a * (1 << exponent) for a in self.data.column]
        columns = zip(y.transpose().tolist(), weights, strict=True)
        return [[fmpq(entry) / weight for entry in column] for column, weight in columns]

    def mean(self) -> list[Any]:
        r"""$\sum_c\omega_c u_c$ as exact fractions."""
        fmpq, (y, exponent) = flint().fmpq, self.weighted_dual
        return [fmpq(sum(row), 1 << exponent) / self.data.total for row in y.tolist()]


def _close_rows(y: list[list[int]], column: list[Any]) -> None:
    """Make every row sum to zero, at the heaviest column, whose dual logits change least."""
    heaviest = max(range(len(column)), key=column.__getitem__)
    for row in y:
        row[heaviest] -= sum(row)


def _close_column(x: list[list[int]], kept: list[list[bool]], c: int, total: int) -> None:
    """Make the shares of a column sum to `total`, at the largest of those that it keeps."""
    lack = total - sum(row[c] for row in x)
    those = [row for row, keeps in zip(x, kept, strict=True) if keeps[c]]
    for row in sorted(those, key=lambda row: row[c], reverse=True):
        change = max(lack, -row[c])
        row[c] += change
        lack -= change
        if lack == 0:
            return


def _balance_rows(x: list[list[int]], kept: list[list[bool]], wanted: list[int]) -> None:
    """Make the rows sum to what is wanted: classes with too much give to others."""
    lacks = [want - sum(row) for want, row in zip(wanted, x, strict=True)]
    for k in range(len(x)):
        while lacks[k] < 0:
            steps = _way(x, kept, k, lacks)
            to = steps[-1][2]
            given = min(-lacks[k], lacks[to], *(x[i][c] for i, c, _ in steps))
            for i, c, j in steps:
                x[i][c] -= given
                x[j][c] += given
            lacks[k] += given
            lacks[to] -= given


def _way(
    x: list[list[int]], kept: list[list[bool]], start: int, lacks: list[int]
) -> list[tuple[int, int, int]]:
    """The fewest steps (class, column, class) from a class to one that lacks something.

    Each in a column that keeps both and where the first has a share, the largest first.
    """
    came: dict[int, tuple[int, int]] = {start: (start, -1)}
    waiting = [start]
    for i in waiting:
        for c in sorted(range(len(x[i])), key=x[i].__getitem__, reverse=True):
            if x[i][c] <= 0:
                break
            for j in range(len(x)):
                if j in came or not kept[j][c]:
                    continue
                came[j] = (i, c)
                waiting.append(j)
                if lacks[j] > 0:
                    return _retraced(came, start, j)
    raise AssertionError("targets have the sums that are wanted, and are kept")


def _retraced(came: dict[int, tuple[int, int]], start: int, end: int) -> list[tuple[int, int, int]]:
    """The steps to a class, by how each class was come to."""
    steps = []
    while end != start:
        i, c = came[end]
        steps.append((i, c, end))
        end = i
    return steps[::-1]


def _on_grid(numbers: Iterable[Any], exponent: int) -> list[int]:
    """Binary fractions as integers over 2**exponent, on which they lie."""
    scaled = [number * (1 << exponent) for number in numbers]
    assert all(number.q == 1 for number in scaled)
    return [int(number.p) for number in scaled]


def log2(number: Any) -> int:
    """Of a positive fraction, rounded up."""
    return int(number.p).bit_length() - int(number.q).bit_length() + 1
