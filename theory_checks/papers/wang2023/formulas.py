"""The loss of norm and direction on a fixed simplex ETF, and the lengths that it ends in."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

import ufm
from theory_checks.formulas.roots import bisect

# what the pull to the anchor takes of the decay; any positive part of it will do
_SHARE = 0.5


@dataclasses.dataclass(frozen=True)
class Fixed:
    """Features of a fixed simplex ETF with rows of length m: K, m, μ per sample, γ, τ."""

    K: int
    m: float
    mu: float
    gamma: float
    tau: float

    @property
    def kappa(self) -> float:
        """What a feature r e_y adds to its own logit over the others, per unit of length."""
        return self.m * self.K / (self.K - 1)

    def slope(self, r: float) -> float:
        """f(r): how fast cross-entropy falls with the length."""
        return self.kappa * (self.K - 1) / (self.K - 1 + np.exp(np.minimum(self.kappa * r, 700)))

    def length(self) -> float:
        """r: short, pinned at τ, or long."""
        short = self.root(self.gamma / self.tau)
        return short if short < self.tau else max(self.tau, self.root(0.0))

    def root(self, pull: float) -> float:
        """μ r = f(r) + pull."""
        return float(bisect(lambda r: self.mu * r - self.slope(r) - pull, 0.0, 1e6))

    def value(self, r: float) -> float:
        """The objective at r e_y, cos = 1 beyond τ."""
        direction = self.gamma * (1 - min(r, self.tau) / self.tau)
        return (
            float(np.log1p((self.K - 1) * np.exp(-self.kappa * r)))
            + direction
            + (self.mu * r**2 / 2)
        )

    @property
    def pinned(self) -> tuple[float, float]:
        """The ends of the interval of μ in which the length is τ exactly."""
        low = self.slope(self.tau) / self.tau
        return low, low + self.gamma / self.tau**2


def rows(K: int, m: float, dim: int) -> np.ndarray:
    """A simplex ETF with rows of length m (K, d)."""
    return np.asarray(ufm.simplex_etf(K, multiplier=m, dim=dim, key=jax.random.key(7))).T


def pulled(class_counts, *, m, mu, gamma, tau, dim, off=0.0, domain="ball", free=None):
    """What the loss is up to the length τ, less γ: an anchor, and part of the decay in its place.

    `domain` "real": without the bound on the length. `free`: λ_W of a classifier that is learned.
    """
    K, N = len(class_counts), sum(class_counts)
    E = rows(K, 1.0, dim)
    # directions that are not those of the rows: turned towards the next class
    E = E + off * np.roll(E, 1, axis=0)
    E = E / np.linalg.norm(E, axis=1, keepdims=True)
    labels = ufm.one_hot(class_counts)
    beta = _SHARE * mu / N
    anchor = gamma / (N * tau * beta) * E.T @ np.asarray(labels.targets)
    fixed = {"lambda_W": 0.0, "fixed_weights": (jnp.asarray(rows(K, m, dim)),)}
    return ufm.Problem(
        labels,
        loss=ufm.CrossEntropy(),
        widths=(dim,),
        lambda_H=mu / N - beta,
        anchor=jnp.asarray(anchor),
        beta=beta,
        features=ufm.domains.Ball(tau) if domain == "ball" else ufm.domains.Real(),
        **(fixed if free is None else {"lambda_W": free}),
    )


def constant(problem: ufm.Problem, gamma: float) -> float:
    """γ − β/2 ‖h⁰‖²: what the anchored objective leaves out."""
    h0, beta = np.asarray(problem.anchor), np.asarray(problem.beta)
    return gamma - float(beta) / 2 * float(np.sum(h0**2))


def objective(params: ufm.Params, problem: ufm.Problem, *, mu, gamma, tau, directions) -> float:
    """Cross-entropy, direction and decay as they are written, in NumPy, without any λ_W."""
    H, q = np.asarray(params.features), np.asarray(problem.labels.targets)
    Z = np.asarray(params.classifier) @ H
    loss = np.log(np.exp(Z - Z.max(axis=0)).sum(axis=0)) + Z.max(axis=0) - np.sum(q * Z, axis=0)
    lengths = np.linalg.norm(H, axis=0)
    cosine = np.sum(H * (directions.T @ q), axis=0) / np.maximum(lengths, tau)
    return float(np.mean(loss + gamma * (1 - cosine) + mu / 2 * lengths**2))
