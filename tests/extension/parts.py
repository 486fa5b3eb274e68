"""What whoever writes a paper next year would define, without touching `ufm`.

A loss, a domain, a map, a label family, a metric and a closed form.
"""

from __future__ import annotations

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import ufm
from ufm.domains import AbstractDomain
from ufm.labels import AbstractLabels
from ufm.maps import AbstractMap
from ufm.optima.forms import AbstractForm, Hypothesis, product_optimum


class LogCosh(ufm.losses.AbstractLoss):
    r"""$\sum_k \log\cosh(z_k - q_k)$: squared error near the target, absolute error far from it."""

    name: ClassVar[str] = "log-cosh"

    def __call__(self, logits, targets):
        size = jnp.abs(logits - targets)
        return jnp.sum(size + jnp.log1p(jnp.exp(-2 * size)) - jnp.log(2.0), axis=0)

    def conjugate(self, dual, targets):
        entropy = sum(
            0.5 * jnp.where(x > 0, x * jnp.log(jnp.where(x > 0, x, 1)), 0)
            for x in (1 + dual, 1 - dual)
        )
        inside = jnp.all(jnp.abs(dual) <= 1, axis=0)
        return jnp.where(inside, jnp.sum(entropy + dual * targets, axis=0), jnp.inf)


class Pinned(AbstractDomain):
    """Vectors whose first entry is given: an affine slice."""

    name: ClassVar[str] = "pinned"
    smooth: ClassVar[bool] = True
    isotropic: ClassVar[bool] = False
    tight: ClassVar[bool] = True

    value: Float[Array, ""] = eqx.field(converter=jnp.asarray)

    def distance(self, vectors):
        return jnp.max(jnp.abs(vectors[0] - self.value))

    @property
    def wanted(self):
        return "have `value` as first entry"

    def project(self, vectors):
        return vectors.at[0].set(self.value)

    def point(self, coordinates, unit):
        return self.project(super().point(coordinates, unit))

    def redundant(self, number):
        return number

    def linear(self, vectors, slope):
        # the multiplier of x_1 = value at a stationary point, where the slope along it is what it
        # has to cancel
        multiplier = -slope[0]
        return jnp.zeros_like(slope).at[0].set(multiplier), self.value * jnp.sum(multiplier)


class Neighbours(AbstractMap):
    r"""$Z = W H A$ with $A = (1-a) I + a P$, P the shift by one column: a graph convolution on a
    ring."""

    name: ClassVar[str] = "neighbours"
    linear: ClassVar[bool] = True
    right: ClassVar[bool] = True

    share: Float[Array, ""] = eqx.field(converter=jnp.asarray)

    def _mixed(self, columns, share, steps):
        return (1 - share) * columns + share * jnp.roll(columns, steps, axis=1)

    def logits(self, weights, features):
        return self._mixed(weights[0] @ features, self.share, 1)

    def of_sizes(self, sizes):
        return self._mixed(sizes, jnp.abs(self.share), 1)

    def pulled_back(self, slopes):
        return self._mixed(slopes, self.share, -1)

    def pulled_sizes(self, sizes):
        return self._mixed(sizes, jnp.abs(self.share), -1)


class NotItsAdjoint(Neighbours):
    """The same, shifted the wrong way on the way back."""

    name: ClassVar[str] = "neighbours, wrongly"

    def pulled_back(self, slopes):
        return self._mixed(slopes, self.share, 1)


class Confused(AbstractLabels):
    r"""One column a class, whose target is $(1-\rho_k)\,e_k + \rho_k\,e_{k+1}$: labellers who take
    a class for the next one with a rate of its own. Held as the rates."""

    rates: Float[Array, " K"]
    masses: Float[Array, " K"]
    weights: Float[Array, " K"] | None = None

    @property
    def num_classes(self):
        return len(self.rates)

    @property
    def targets(self):
        own = jnp.diag(1 - self.rates)
        return own + jnp.roll(jnp.diag(self.rates), 1, axis=0)


def longest_over_shortest(problem: ufm.Problem, params: ufm.Params):
    """The ratio of the longest to the shortest class mean: a metric of one's own."""
    means = ufm.labels.collapse(problem.labels, problem.head(params).features)
    lengths = jnp.linalg.norm(means, axis=0)
    return jnp.max(lengths) / jnp.min(lengths)


class NothingIsLearned(AbstractForm):
    """W H = 0 is optimal for log-cosh loss where the slope at the origin is below the price of the
    nuclear norm."""

    name: ClassVar[str] = "nothing is learned under log-cosh loss"
    source: ClassVar[str] = "Fenchel duality, as for any convex loss"
    factor = 1.0

    def accepts(self, facts):
        yield Hypothesis(
            "loss", facts.loss.name == "log-cosh", "log-cosh loss", str(facts.loss), 10
        )
        yield Hypothesis(
            "domain", facts.unconstrained, "factors that may be anything", facts.features, 5
        )
        plain = (
            facts.M == 1
            and facts.bias is None
            and facts.equal_weights
            and not facts.anchored
            and not facts.frozen
        )
        yield Hypothesis(
            "model", plain, "one layer, no bias, plain decay", f"M={facts.M}, {facts.bias} bias", 3
        )
        reached = np.linalg.norm(
            np.tanh(facts.distinct.targets) * np.sqrt(facts.distinct.masses) / facts.N, 2
        )
        yield Hypothesis(
            "decay", reached <= facts.mu, f"√(λ_W λ_H) >= {reached:.4g}", f"{facts.mu:.4g}"
        )

    def optimum(self, facts):
        value = (
            float(facts.distinct.masses @ np.sum(np.log(np.cosh(facts.distinct.targets)), axis=0))
            / facts.N
        )
        zero = np.zeros((facts.K, facts.K))
        return product_optimum(
            facts,
            zero,
            value=self.factor * value,
            regime="origin",
            source=self.source,
            loss="log-cosh",
        )


class WronglyScaled(NothingIsLearned):
    """The same with a value that is off by a thousandth."""

    name: ClassVar[str] = "nothing is learned, and the value is wrong"
    factor = 1.001
