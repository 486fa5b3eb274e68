r"""The least value that a classifier which is a simplex ETF can have, and a proof of it.

One linear layer, no bias, cross-entropy of logits multiplied by $\Delta$ (ones unless given), any
targets, masses and loss weights. With $WW^\top = SP$ the best features for centred logits Z are
$W^\top Z/S$, so that the objective is $\sum_c\omega_c\ell(z_c) + \tfrac{\lambda_W}2(K-1)S +
\tfrac{\lambda_H}{2S}\sum_c m_c\|z_c\|^2$: a convex problem in each column, and a convex one in S.
Over S it is the loss plus $\sqrt{(K-1)\lambda_W\lambda_H}\,\|ZD^{1/2}\|_F$, where the global
minimum has the nuclear norm times $\sqrt{\lambda_W\lambda_H}$ in its place, which is smaller unless
all K − 1 singular values are equal. By Fenchel duality no ETF gets below
$-\sum_c\omega_c\ell^*(u_c)$ for any u with $\|P[\omega_cu_c/\sqrt{m_c}]\|_F^2 \le
(K-1)\lambda_W\lambda_H$. Derived.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from theory_checks.engine.counterexamples import Floor
from theory_checks.formulas.roots import bisect
from ufm._exact.fractions import flint, fractions
from ufm.certificates.balls import BITS, round_down

# what is kept between the norm of the dual point and its bound, far above rounding
_INSIDE = 1 - 1e-13
_STEPS = 60
# The Hessian of the loss changes by at most the factor exp(2δ) within δ: a full step of Newton's
# method this short leaves an error of 2δ², in any direction and at any decay. After the shortest
# that is rounding.
_SHORT, _SHORTEST = 1e-2, 1e-8


@dataclasses.dataclass(frozen=True, eq=False)
class EtfClassifier:
    """The problem: targets (K, C), masses and loss weights (C,), Δ (K,), and two decays."""

    targets: np.ndarray
    masses: np.ndarray
    weights: np.ndarray
    scale: np.ndarray
    lambda_W: float
    lambda_H: float

    @classmethod
    def of(cls, problem) -> EtfClassifier:
        """Read off a `ufm.Problem` of one layer without a bias."""
        assert problem.depth == 1, problem
        assert problem.bias is None, problem
        assert problem.plain, problem
        labels = problem.labels
        masses = np.asarray(labels.masses)
        weights = np.ones_like(masses) if labels.weights is None else np.asarray(labels.weights)
        scale = np.asarray(problem.loss.share_scale(labels.num_classes))
        decays = float(problem.lambda_W[0]), float(problem.lambda_H)
        return cls(np.asarray(labels.targets), masses, weights, scale, *decays)

    @functools.cached_property
    def shares(self) -> np.ndarray:
        """ω (C,)."""
        samples = self.masses * self.weights
        return samples / samples.sum()

    def probabilities(self, Z: np.ndarray) -> np.ndarray:
        """softmax(Δ z) of every column."""
        scaled = self.scale[:, None] * Z
        powers = np.exp(scaled - scaled.max(axis=0))
        return powers / powers.sum(axis=0)

    def losses(self, Z: np.ndarray) -> np.ndarray:
        """Of every column."""
        scaled = self.scale[:, None] * Z
        top = scaled.max(axis=0)
        logsumexp = top + np.log(np.exp(scaled - top).sum(axis=0))
        return logsumexp - np.sum(self.targets * scaled, axis=0)

    def logits(self, S: float) -> np.ndarray:
        """The best centred Z (K, C) at W Wᵀ = S P, by Newton in each column."""
        K, C = self.targets.shape
        basis = np.linalg.svd(np.eye(K) - 1 / K)[0][:, :-1]
        pull = self.lambda_H * self.masses / S
        Z = np.zeros((K, C))
        for _ in range(_STEPS):
            p = self.probabilities(Z)
            slopes = self.shares * (self.scale[:, None] * (p - self.targets)) + pull * Z
            gradient = basis.T @ slopes
            value = self.shares * self.losses(Z) + 0.5 * pull * np.sum(Z**2, axis=0)
            bent = basis.T[None] * self.scale
            curved = (bent * p.T[:, None, :]) @ bent.transpose(0, 2, 1)
            mean = (bent @ p.T[:, :, None])[:, :, 0]
            curved = self.shares[:, None, None] * (curved - mean[:, :, None] * mean[:, None, :])
            hessian = curved + pull[:, None, None] * np.eye(K - 1)
            moved = np.linalg.solve(hessian, gradient.T[:, :, None])[:, :, 0].T
            moved = basis @ moved
            sizes = np.max(np.abs(moved), axis=0)
            length = np.ones(C)
            for _ in range(40 if np.any(sizes > _SHORT) else 0):
                there = Z - length * moved
                lower = self.shares * self.losses(there) + 0.5 * pull * np.sum(there**2, axis=0)
                worse = (lower > value + 1e-15 * np.abs(value)) & (sizes > _SHORT)
                if not worse.any():
                    break
                length = np.where(worse, length / 2, length)
            Z = Z - length * moved
            if np.all(sizes < _SHORTEST):
                break
        return Z

    @functools.cached_property
    def best(self) -> tuple[float, np.ndarray]:
        """S and Z."""
        K = len(self.targets)

        def slope(log_S):
            S = float(np.exp(log_S))
            squares = self.masses @ np.sum(self.logits(S) ** 2, axis=0)
            return self.lambda_W * (K - 1) - self.lambda_H * squares / S**2

        # (the value is stationary in S: half the digits of S are all that it needs)
        S = float(np.exp(bisect(slope, -25.0, 15.0, steps=45)))
        return S, self.logits(S)

    def value(self) -> float:
        """The least objective of a classifier that is an ETF."""
        S, Z = self.best
        K = len(Z)
        decay = self.lambda_W * (K - 1) * S
        decay += self.lambda_H / S * (self.masses @ np.sum(Z**2, axis=0))
        return float(self.shares @ self.losses(Z) + decay / 2)

    def least(self) -> Floor:
        """What no ETF gets below, with every rounding accounted for.

        Its witness: `shares` p (K, C) and `factor` t. With the largest share of each column
        changed so that it sums to what q does, u = t Δ∘(p − q).
        """
        with flint().ctx.workprec(BITS):
            p = self.probabilities(self.best[1])
            inner, factor = self._feasible(p)
            value = round_down(-self._conjugates(inner))
        return Floor(value, {"shares": p, "factor": np.array(factor)})

    def _feasible(self, p: np.ndarray) -> tuple[list[list], float]:
        """u/Δ of every column as exact fractions that sum to zero, u short enough, and by what they
        were multiplied."""
        inner = []
        for q, point in zip(fractions(self.targets.T), fractions(p.T), strict=True):
            largest = max(range(len(q)), key=point.__getitem__)
            others = sum(a for k, a in enumerate(point) if k != largest)
            point[largest] = sum(q) - others
            inner.append([a - b for a, b in zip(point, q, strict=True)])
        allowed, reached = self._lengths(inner)
        ratio = min(
            1.0, float(allowed.numerator) / float(allowed.denominator) / float(reached.mid())
        )
        factor = float(np.sqrt(ratio) * _INSIDE)
        (t,) = fractions(np.array([factor]))
        return [[t * x for x in column] for column in inner], factor

    def _shares(self) -> list:
        """ω as exact fractions."""
        pairs = zip(fractions(self.masses), fractions(self.weights), strict=True)
        samples = [m * w for m, w in pairs]
        return [s / sum(samples) for s in samples]

    def _lengths(self, inner: list[list]):
        """(K − 1) λ_W λ_H exactly, and the squared length that it bounds as a ball."""
        K, scale = len(self.scale), fractions(self.scale)
        squares = flint().arb(0)
        for column, m, share in zip(inner, fractions(self.masses), self._shares(), strict=True):
            u = [d * x for d, x in zip(scale, column, strict=True)]
            mean = sum(u) / K
            squares += share**2 / m * sum((x - mean) ** 2 for x in u)
        lambda_W, lambda_H = fractions(np.array([self.lambda_W, self.lambda_H]))
        return (K - 1) * lambda_W * lambda_H, squares

    def _conjugates(self, inner: list[list]):
        """Σ ω ℓ* as a ball, +∞ where the dual point is too long."""
        import ufm

        loss, arb = ufm.CrossEntropy(), flint().arb
        allowed, reached = self._lengths(inner)
        if not reached <= arb(allowed):
            return arb("inf")
        columns = zip(self._shares(), inner, fractions(self.targets.T), strict=True)
        return sum((share * loss.enclose_conjugate(u, q) for share, u, q in columns), arb(0))
