r"""The point and the quadratic part of the bound in balls, for every mixture of decay, domains,
anchors and frozen weights. The formulas are those of `ufm/certificates/lift.py`.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from ufm._exact.fractions import flint, fractions
from ufm.certificates.balls import Ball
from ufm.certificates.definite import Multipliers
from ufm.certificates.dual_point import DualPoint
from ufm.maps import AbstractMap
from ufm.model import Params, Problem

Columns = list[list[Any]]


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Place:
    """A point that lies in the domains of a problem, in balls.

    `weights` (W_M, …, W_1) as rows; `features` as columns; `bias` (K,).
    """

    weights: list[Columns]
    features: Columns
    bias: list[Any]

    @classmethod
    def near(cls, problem: Problem, params: Params) -> Place:
        """The point of the domains that floats stand for: on a sphere, they times a factor.

        Parameters
        ----------
        problem
            Gives the domains.
        params
            Floats.

        Returns
        -------
        Place
            In balls.
        """
        arb = flint().arb
        weights = [[[arb(x) for x in row] for row in fractions(W)] for W in params.weights]
        if not problem.frozen:
            weights[0] = problem.classifier.enclose(fractions(params.weights[0]))
        columns = problem.features.enclose(fractions(np.asarray(params.features).T))
        bias = np.zeros(problem.labels.num_classes) if params.bias is None else params.bias
        return cls(weights, columns, list(map(arb, np.asarray(bias, np.float64).tolist())))

    def logits(self, the_map: AbstractMap, operator: Columns | None) -> Columns:
        """Z = W_M … W_1 H A + b 1ᵀ, column by column, or what the map makes of H.

        Parameters
        ----------
        the_map
            Of the problem.
        operator
            A as rows; None for the identity.

        Returns
        -------
        Columns
            In balls.
        """
        if the_map.gram is not None:
            # (of no weights)
            return self._biased(the_map.gram.enclose(self.features))
        columns = _product(self.weights) * flint().arb_mat(self.features).transpose()
        if operator is not None:
            arb = flint().arb
            columns = columns * flint().arb_mat([[arb(x) for x in row] for row in operator])
        return self._biased(columns.transpose().tolist())

    def _biased(self, columns: Columns) -> Columns:
        return [[z + b for z, b in zip(column, self.bias, strict=True)] for column in columns]

    def decay(self, problem: Problem) -> Ball:
        """The ridge on factors and bias, and the pull to an anchor."""
        masses, total = fractions(problem.labels.masses), flint().arb(0)
        for lam, W in zip(fractions(problem.lambda_W), self.weights, strict=True):
            total += lam * sum(map(_square, W))
        of_features = sum(m * _square(h) for m, h in zip(masses, self.features, strict=True))
        total += fractions(problem.lambda_H) * of_features
        if problem.anchor is not None:
            pairs = zip(masses, self.features, _anchor(problem), strict=True)
            pulled = sum(
                m * _square([x - y for x, y in zip(h, to, strict=True)]) for m, h, to in pairs
            )
            total += fractions(problem.beta) * pulled
        if problem.lambda_b is not None:
            total += fractions(problem.lambda_b) * _square(self.bias)
        return total / 2


def least(problem: Problem, params: Params, dual: DualPoint, multipliers: Multipliers) -> Ball:
    """What the multipliers leave of the quadratic part and of what pulls the features, from below.

    Parameters
    ----------
    problem
        With frozen weights, an anchor, or neither.
    params
        The point at which a pull is measured.
    dual
        The dual point.
    multipliers
        Exactly.

    Returns
    -------
    Ball
        Zero where nothing is frozen and nothing pulls.
    """
    if problem.map.gram is not None:
        return _unused(problem)
    if problem.frozen:
        return _frozen(problem, dual, multipliers)
    if problem.anchor is None:
        return flint().arb(0)
    return _pulled(problem, params, dual, multipliers)


def _frozen(problem: Problem, dual: DualPoint, multipliers: Multipliers) -> Ball:
    """−‖g_c‖²/(2 b_c) of every column, and what does not depend on the features."""
    assert problem.fixed_weights is not None
    arb = flint().arb
    weights = [[[arb(x) for x in row] for row in fractions(W)] for W in problem.fixed_weights]
    slopes = (_weighted(dual).transpose() * _product(weights)).tolist()
    constant = _unused(problem)
    if problem.anchor is not None:
        slopes = _sums(slopes, _slope(problem))
        constant += _constant(problem)
    facing = [_facing(slope, multipliers) for slope in slopes]
    return constant - sum(
        _square(slope) / (2 * b) for slope, b in zip(facing, multipliers.columns, strict=True)
    )


def _unused(problem: Problem) -> Ball:
    """The decay of frozen weights."""
    assert problem.fixed_weights is not None
    total = flint().arb(0)
    for lam, W in zip(fractions(problem.lambda_W), problem.fixed_weights, strict=True):
        total += lam * sum(map(_square, fractions(W))) / 2
    return total


def _pulled(problem: Problem, params: Params, dual: DualPoint, multipliers: Multipliers) -> Ball:
    r"""$\tfrac12\langle HS, H\rangle + \langle L, H\rangle - \tfrac12\sum_c\|R_c\|^2/(\eta b_c)$
    with the room η, S, and R = HS + L at the features H of the point."""
    arb_mat, b = flint().arb_mat, multipliers.columns
    V, features = _weighted(dual), fractions(np.asarray(params.features).T)
    assert multipliers.rows is not None
    halves = [[x / a for x in row] for row, a in zip(V.tolist(), multipliers.rows, strict=True)]
    H = arb_mat([list(map(flint().arb, h)) for h in features])
    if multipliers.nonnegative:
        gram = (V.transpose() * arb_mat(halves)).tolist()
        kept = enumerate(gram)
        gram = [[x if i == j else x.max(0) for j, x in enumerate(row)] for i, row in kept]
        coupled = arb_mat(gram) * H
    else:
        coupled = arb_mat(halves).transpose() * (V * H)
    curved = [
        [each * x - y for x, y in zip(h, row, strict=True)]
        for each, h, row in zip(b, features, coupled.tolist(), strict=True)
    ]
    slope, value = _slope(problem), _constant(problem)
    for h, curve, pull, each in zip(features, curved, slope, b, strict=True):
        residual = [x + y for x, y in zip(curve, pull, strict=True)]
        faced = _facing(residual, multipliers)
        value += sum(
            x * (c / 2 + p + f - r)
            for x, c, p, f, r in zip(h, curve, pull, faced, residual, strict=True)
        )
        value -= _square(faced) / (2 * multipliers.room * each)
    return value


def _weighted(dual: DualPoint) -> Any:
    """V = [ω_c u_c] Aᵀ (K, C)."""
    fmpq, (y, exponent) = flint().fmpq, dual.pulled
    unit = 1 / (dual.data.total * (1 << exponent))
    return flint().arb_mat([[flint().arb(fmpq(x) * unit) for x in row] for row in y.tolist()])


def _facing(slope: list[Any], multipliers: Multipliers) -> list[Any]:
    """What matters of a slope: to nonnegative features, where it goes down."""
    return [x.min(0) for x in slope] if multipliers.nonnegative else slope


def _anchor(problem: Problem) -> Columns:
    return fractions(np.asarray(problem.anchor).T)


def _slope(problem: Problem) -> Columns:
    """L = −β m_c h⁰_c."""
    beta, masses = fractions(problem.beta), fractions(problem.labels.masses)
    return [[-beta * m * x for x in h] for m, h in zip(masses, _anchor(problem), strict=True)]


def _constant(problem: Problem) -> Ball:
    """½ β Σ m ‖h⁰‖²."""
    masses = fractions(problem.labels.masses)
    sizes = sum(m * _square(h) for m, h in zip(masses, _anchor(problem), strict=True))
    return flint().arb(fractions(problem.beta) * sizes / 2)


def _product(weights: list[Columns]) -> Any:
    outer, *inner = map(flint().arb_mat, weights)
    for W in inner:
        outer = outer * W
    return outer


def _sums(a: Columns, b: Columns) -> Columns:
    return [[x + y for x, y in zip(*pair, strict=True)] for pair in zip(a, b, strict=True)]


def _square(vector: list[Any]) -> Any:
    return sum(x * x for x in vector)
