r"""That dual logits are small enough for their multipliers, shown in exact arithmetic.

The bound of `ufm/certificates/lift.py` needs $\sum_k a_k\|w_k\|^2 + \sum_c b_c\|h_c\|^2 + 2\langle
V, WH\rangle \ge 0$ at every W and H, that is $D_a - V D_b^{-1} V^\top\succeq0$, or for nonnegative
features $D_b - (V^\top D_a^{-1}V)^+\succeq0$, with the negative entries off the diagonal dropped.
Where something pulls the features a share of $D_b$ must be left over, the *room*. With $V = Y/S$ on
the grid of `ufm.certificates.dual_point`, that is $N - R\succeq0$ with diagonal N, which is rounded
down, and R, for which the reciprocals are rounded up.

For any square Q, an $X = Q^\top(N - R)\,Q$ whose diagonal entries exceed the sums of the absolute
values of the rest of their rows is positive definite (Gershgorin); then Q is regular, and $N - R$
is positive definite (Sylvester's law of inertia). Nothing is asked of Q, so that float eigenvectors
of $N^{-1/2}RN^{-1/2}$, rounded to integers, are the witness. X is computed exactly.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from ufm._exact.fractions import Exact, flint, fractions
from ufm.certificates.dual_point import GUARD, Data, DualPoint, log2
from ufm.certificates.gram import Held
from ufm.model import Problem

# A witness is as good as its eigenvectors, which are floats.
_WITNESS_BITS = 60
# Gershgorin's discs have a radius of about K eps, which the second attempt allows for.
_ATTEMPTS = 4

Witness = list[list[int]]


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Multipliers(Exact):
    """Those of rows and of columns, exactly, and what they cost.

    `rows`: a (K,), None where weights are frozen. `columns`: b (C,). `room`: the share of b that is
    left over. `nonnegative`: whether features are, and that is made use of.
    """

    rows: list[Any] | None
    columns: list[Any]
    cost: Any
    room: Any
    nonnegative: bool

    @classmethod
    def of(cls, problem: Problem, rows, columns, room: float, nonnegative: bool) -> Multipliers:
        """Those that the domains of a problem allow, near floats.

        Parameters
        ----------
        problem
            Gives domains and decays.
        rows, columns
            Floats (K,) and (C,) to be near to; of rows none where weights are frozen.
        room
            The share of the columns' that is left over.
        nonnegative
            Whether use is made of signs of the features.

        Returns
        -------
        Multipliers
            Exactly, and what they cost.
        """
        domain = Held.of(problem).domain
        decay, found = feature_decays(problem), None
        if domain is not problem.features:
            # (unit vectors, whatever the features are)
            decay = [0 * lam for lam in decay]
        b = domain.exact_curvature(fractions(columns), decay)
        cost = domain.exact_allowance(b, decay)
        if not problem.frozen:
            outer = fractions(problem.lambda_W)[:1] * problem.labels.num_classes
            found = problem.classifier.exact_curvature(fractions(rows), outer)
            cost += problem.classifier.exact_allowance(found, outer)
        return cls(found, b, cost, fractions(room), nonnegative)


def feature_decays(problem: Problem) -> list[Any]:
    """What holds each feature, exactly: (λ_H + β) m_c."""
    total = fractions(problem.lambda_H)
    if problem.beta is not None:
        total += fractions(problem.beta)
    return [total * m for m in fractions(problem.labels.masses)]


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Form:
    """N − R on one grid: `diagonal` N, and the integer matrix R."""

    diagonal: list[int]
    matrix: Any

    @classmethod
    def of(cls, dual: DualPoint, multipliers: Multipliers) -> Form:
        """What must be positive definite for these dual logits.

        Parameters
        ----------
        dual
            The dual point.
        multipliers
            Exactly, those of the rows too.

        Returns
        -------
        Form
            On a grid as fine as the inverses need to be exact enough, and N not to vanish.
        """
        if dual.data.temperature is not None:
            return cls._of_gram(dual, multipliers)
        fmpz_mat, (y, exponent) = flint().fmpz_mat, dual.pulled
        assert multipliers.rows is not None
        outer, inner = multipliers.rows, multipliers.columns
        if multipliers.nonnegative:
            y, outer, inner = y.transpose(), inner, outer
        # as many as the inverses need to be exact enough, and N not to vanish
        least = min(outer) * dual.data.total**2 * (1 - multipliers.room)
        finest = exponent + GUARD + max(map(log2, inner))
        bits = max(0, finest, 2 * GUARD - 2 * exponent - log2(least))
        inverse = [-((-(1 << bits) / each).floor()) for each in inner]
        scaled = [[x * g for x, g in zip(row, inverse, strict=True)] for row in y.tolist()]
        R = _counted(fmpz_mat(scaled) * y.transpose(), multipliers)
        unit = dual.data.total**2 * (1 - multipliers.room) * (1 << bits + 2 * exponent)
        return cls([int((each * unit).floor()) for each in outer], R)

    @classmethod
    def _of_gram(cls, dual: DualPoint, multipliers: Multipliers) -> Form:
        """Of logits that are a Gram: D_b less −(V + Vᵀ)/τ, which is exact on the grid."""
        y, exponent = dual.weighted_dual
        unit = dual.data.total * dual.data.temperature
        bits = max(0, 2 * GUARD - exponent - log2(min(multipliers.columns) * unit))
        R = _counted((y + y.transpose()) * -(1 << bits), multipliers)
        grid = unit * (1 << bits + exponent)
        return cls([int((b * grid).floor()) for b in multipliers.columns], R)

    def witness(self) -> Witness:
        r"""A candidate for Q: float eigenvectors of $N^{-1/2}RN^{-1/2}$, times $N^{-1/2}$."""
        roots = [max(1, math.isqrt(n)) for n in self.diagonal]
        rows = [[int(x) for x in row] for row in self.matrix.tolist()]
        entries = [
            [(x << 64) // (r * s) for x, s in zip(row, roots, strict=True)]
            for row, r in zip(rows, roots, strict=True)
        ]
        largest = max(abs(entry) for row in entries for entry in row).bit_length()
        shift = max(0, largest - 64)
        ratios = np.array([[math.ldexp(entry >> shift, -64) for entry in row] for row in entries])
        sizes = np.array([_ratio(max(roots), root) for root in roots])
        vectors = np.linalg.eigh(ratios)[1] * sizes[:, None] * 2.0**_WITNESS_BITS
        return [[round(entry) for entry in row] for row in vectors.tolist()]

    def excess(self, witness: Witness) -> float | None:
        r"""None where Q proves N − R to be positive definite; else about the largest eigenvalue of
        $N^{-1}R$, or +inf."""
        fmpz_mat, R = flint().fmpz_mat, self.matrix
        Q = fmpz_mat(witness)
        left = zip(self.diagonal, Q.tolist(), strict=True)
        N = Q.transpose() * fmpz_mat([[n * x for x in row] for n, row in left])
        B = Q.transpose() * R * Q
        if all(2 * row[i] > _absolute(row) for i, row in enumerate((N - B).tolist())):
            return None
        ratios = []
        for i, (n, b) in enumerate(zip(N.tolist(), B.tolist(), strict=True)):
            room = 2 * n[i] - _absolute(n)
            ratios.append(_ratio(int(_absolute(b)), int(room)) if room > 0 else math.inf)
        return max(1.0, *ratios)


def feasible(
    proposal: np.ndarray, data: Data, multipliers: Multipliers, bits: int
) -> tuple[DualPoint, Witness]:
    """Dual logits made feasible, and the witness that they are.

    Parameters
    ----------
    proposal
        (K, C), in floats.
    data
        The labels, exactly.
    multipliers
        What they must be feasible for.
    bits
        Of the grid that they are put on.

    Returns
    -------
    tuple[DualPoint, Witness]
        Shrunk as far as the multipliers ask for; zero where that does not help.
    """
    gram = data.temperature is not None
    if multipliers.rows is None and not gram:
        return DualPoint.near(proposal, data, bits), []
    size, witness = 1.0, None
    for attempt in range(_ATTEMPTS):
        dual = DualPoint.near(size * proposal, data, bits)
        form = Form.of(dual, multipliers)
        witness = form.witness() if witness is None else witness
        excess = form.excess(witness)
        if excess is None:
            return dual, witness
        # (what a Gram must exceed is linear in the dual logits)
        size *= (1 - 2.0 ** (2 * attempt - 50)) / (excess if gram else math.sqrt(excess))
    # zero is feasible
    dual = DualPoint.near(np.zeros_like(proposal), data, bits)
    form = Form.of(dual, multipliers)
    witness = form.witness()
    assert form.excess(witness) is None
    return dual, witness


def _counted(R: Any, multipliers: Multipliers) -> Any:
    """Of nonnegative features without negative entries off the diagonal."""
    if not multipliers.nonnegative:
        return R
    kept = enumerate(R.tolist())
    return flint().fmpz_mat(
        [[x if i == j else max(x, 0) for j, x in enumerate(r)] for i, r in kept]
    )


def _ratio(numerator: int, denominator: int) -> float:
    """Of integers of any size."""
    try:
        return numerator / denominator
    except OverflowError:
        return math.inf


def _absolute(row: list[Any]) -> Any:
    return sum(map(abs, row))
