r"""Softmax cross-entropy, plain and adjusted class by class.

A well fitted sample has a loss of 1e-10 where its logits are of size 20: nothing here subtracts
numbers of size 1 to get it. With the largest logit m taken out,
$\mathrm{logsumexp}(z) - q^\top z = \log(1 + \sum_{k\ne top} e^{z_k - m}) + \sum_k q_k(m - z_k)$,
a sum of terms >= 0; and the gradient p − q of a class that is all but certain is minus the sum of
the other entries, because p and q both sum to one.
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Bool, Float, Int

from ufm._validate import concrete, require, require_finite, require_positive, require_real
from ufm.labels import AbstractLabels
from ufm.losses import enclosures
from ufm.losses.base import AbstractLoss, parameter, per_class, unit_roundoff
from ufm.losses.rows import AbstractRows, EntropyRows

# log a is log1p(a − 1) above this, see `_point`.
_TO_LOG1P = 0.8


@jax.custom_jvp
def cross_entropy(
    logits: Float[Array, "K ..."], targets: Float[Array, "K ..."]
) -> Float[Array, ...]:
    """−Σ q log p of every sample, for targets that sum to one; to a few eps of itself."""
    below, exponentials, total = _exponentials(logits)
    # the largest logit is 0 below itself, whatever the compiler made of it
    first = (exponentials > 0.5) & _alone(total)[None]
    return _log_total(exponentials, total) + jnp.sum(jnp.where(first, 0, targets * below), axis=0)


def _exponentials(logits: Array) -> tuple[Array, Array, Array]:
    """How far every logit lies below the largest, the exponential of minus that, and the sum of
    these.

    A compiler may compute logits twice, by sums that differ in the last bit: no formula here may
    jump where a logit passes another, or a bound, by that little.
    """
    top = jnp.max(logits, axis=0)
    top = jnp.where(jnp.isfinite(top), top, 0)
    exponentials = jnp.exp(logits - top[None])
    return top[None] - logits, exponentials, jnp.sum(exponentials, axis=0)


def _alone(total: Array) -> Array:
    """Whether no exponential but that of the largest logit is above 1/4, so that one above 1/2 is
    this one."""
    return total < 1.25


def _log_total(exponentials: Array, total: Array) -> Array:
    """logsumexp less the largest logit."""
    others = jnp.sum(jnp.where(exponentials > 0.5, 0, exponentials), axis=0)
    return jnp.where(_alone(total), jnp.log1p(others), jnp.log(total))


def softmax(logits: Float[Array, "K ..."]) -> Float[Array, "K ..."]:
    """Probabilities; a product with one over the total, which costs a compiler no array of its
    own."""
    _, exponentials, total = _exponentials(logits)
    return exponentials * (1 / total)[None]


@jax.custom_jvp
def log_probabilities(logits: Float[Array, "K ..."]) -> Float[Array, "K ..."]:
    """log softmax(z), which near 0 keeps its digits, as its gradient does."""
    below, exponentials, total = _exponentials(logits)
    below = jnp.where((exponentials > 0.5) & _alone(total)[None], 0, below)
    return -below - _log_total(exponentials, total)[None]


@log_probabilities.defjvp
def _log_probabilities_jvp(primals, tangents):
    """Not through the largest logit.

    Where a compiler computes logits twice, none of them is the largest, and JAX divides by 0.
    """
    (logits,), (moved,) = primals, tangents
    value, rank = log_probabilities(logits), (1,) * (logits.ndim - 1)
    first = jnp.arange(len(logits)).reshape(-1, *rank) == jnp.argmax(logits, axis=0)[None]
    # a common shift moves nothing; from the largest on, that of a class that is all but certain
    # keeps its digits
    moved = moved - jnp.sum(jnp.where(first, moved, 0), axis=0)[None]
    return value, moved - jnp.sum(jnp.exp(value) * moved, axis=0)[None]


def _cross_entropy_jvp(primals, tangents):
    logits, targets = primals
    moved, changed = tangents
    value = cross_entropy(logits, targets)
    tangent = jnp.zeros_like(value)
    if not isinstance(moved, SymbolicZero):
        tangent = jnp.sum(softmax_less(logits, targets) * moved, axis=0)
    if not isinstance(changed, SymbolicZero):
        tangent = tangent - jnp.sum(log_probabilities(logits) * changed, axis=0)
    return value, tangent


cross_entropy.defjvp(_cross_entropy_jvp, symbolic_zeros=True)


@jax.custom_jvp
def softmax_less(logits: Float[Array, "K ..."], targets: Float[Array, "K ..."]) -> Array:
    """softmax(z) − q, the gradient of `cross_entropy`: entries that are small keep their digits."""
    _, exponentials, total = _exponentials(logits)
    difference = exponentials * (1 / total)[None] - targets
    return _summing_to_zero(difference, exponentials, total)


def _summing_to_zero(difference: Array, sizes: Array, total: Array) -> Array:
    """Minus the sum of the others at a class that is all but certain.

    Its share of `total`, the sum of `sizes`, is near 1.

    By degrees as the rest of the total falls from 1/4 to 1/8 of the largest size, which is 1.
    """
    others = jnp.sum(jnp.where(sizes > 0.5, 0, difference), axis=0)
    sure = jnp.clip(8 * (1.25 - total), 0, 1)
    moved = sure[None] * difference + (sure * others)[None]
    return difference - jnp.where(sizes > 0.5, moved, 0)


def _softmax_less_jvp(primals, tangents):
    logits, targets = primals
    moved, changed = tangents
    _, exponentials, total = _exponentials(logits)
    probabilities = exponentials * (1 / total)[None]
    value = _summing_to_zero(probabilities - targets, exponentials, total)
    tangent = jnp.zeros_like(value)
    if not isinstance(moved, SymbolicZero):
        mean = jnp.sum(probabilities * moved, axis=0)
        tangent = _summing_to_zero(probabilities * (moved - mean[None]), exponentials, total)
    if not isinstance(changed, SymbolicZero):
        tangent = tangent - changed
    return value, tangent


softmax_less.defjvp(_softmax_less_jvp, symbolic_zeros=True)


class CrossEntropy(AbstractLoss):
    r"""Softmax cross-entropy of one sample, $-\sum_k q_k \log p_k$ with $p = \mathrm{softmax}(z)$.

    Targets are probabilities: entries >= 0 that sum to one in each column, to rounding.
    """

    name: ClassVar[str] = "cross-entropy"
    needs_every_class: ClassVar[bool] = True
    exponential: ClassVar[bool] = True
    shift_invariant: ClassVar[bool] = True
    drops_classes: ClassVar[bool] = True

    def rows(
        self, root: Float[Array, "K K"], scale: Float[Array, ""], gamma: Float[Array, ""]
    ) -> AbstractRows:
        """The Hessian is that of the softmax, explicit under a simplex ETF.

        Returns
        -------
        AbstractRows
            None where there is no structure; then they are found by differentiation.
        """
        return EntropyRows(scale)

    def centring(self, mean_dual: Float[Array, " K"], mean_target: Float[Array, " K"]) -> Any:
        """The share that each class loses of its probability, and how what was lost is given out.

        Returns
        -------
        Any
            Two arrays (K,), passed to `centred` for every column.
        """
        predicted, short = mean_target + mean_dual, jnp.maximum(-mean_dual, 0)
        missing = jnp.sum(short)
        share = short / jnp.where(missing > 0, missing, 1)
        given = jnp.where(missing > 0, share, 1 / len(mean_dual))
        return jnp.maximum(mean_dual, 0) / jnp.where(predicted > 0, predicted, 1), given

    def centred(
        self, dual: Float[Array, "K ..."], targets: Float[Array, "K ..."], centring: Any
    ) -> Float[Array, "K ..."]:
        """Probability moved from classes predicted too often to those predicted too rarely.

        Returns
        -------
        Float[Array, "K ..."]
            Within the domain of the conjugate.
        """
        taken, given = (per_class(part, beside=dual) for part in centring)
        moved = taken * (targets + dual)
        out = dual - moved + given * jnp.sum(moved, axis=0, keepdims=True)
        point = targets + out
        sizes = point / jnp.max(point, axis=0, keepdims=True)
        return _summing_to_zero(out, sizes, jnp.sum(sizes, axis=0))

    def centring_pattern(
        self, dual: Float[Array, "K C"], targets: Float[Array, "K C"]
    ) -> Float[Array, "K C"]:
        """The probabilities themselves, of which each class gives a share.

        Returns
        -------
        Float[Array, "K C"]
            Entries >= 0, up to a factor a row.
        """
        return jnp.maximum(targets + dual, 0)

    def check_targets(self, labels: AbstractLabels) -> None:
        """`ValueError` for entries below 0 and columns that do not sum to one (no minimum)."""
        numbers, sums = labels.numbers(), labels.sums()
        if numbers is None or sums is None:
            return
        negative = numbers[numbers < 0]
        require(negative.size == 0, "`labels.targets` must be >= 0 for cross-entropy", negative[:3])
        # rounding of a column that was divided by its sum
        off = np.abs(sums - 1) > 32 * labels.num_classes * float(unit_roundoff(numbers.dtype))
        words = (
            "`labels.targets` must sum to one in each column for cross-entropy (divide by the sum)"
        )
        require(not off.any(), words, sums[off][:3])

    def __call__(
        self, logits: Float[Array, "K ..."], targets: Float[Array, "K ..."]
    ) -> Float[Array, ...]:
        """Loss of every sample."""
        return cross_entropy(logits, targets)

    def value_error(
        self, logits: Float[Array, "K ..."], targets: Float[Array, "K ..."]
    ) -> Float[Array, ...]:
        r"""A few eps of the loss, as it is a sum of terms >= 0, and of its logarithm.

        A logit that lies b below the largest is known to b eps there, so that $e^{-b}$ is off by as
        much of itself; and $\sum_k b_k e^{-b_k} \le S\log(K/S)$ with S the sum of these.

        Returns
        -------
        Float[Array, ...]
            Of every sample, >= 0.
        """
        loss, K = self(logits, targets), len(targets)
        below = jnp.log(K) - jnp.log(jnp.clip(loss, jnp.finfo(loss.dtype).tiny, K))
        return (K + 8 + below) * unit_roundoff(logits.dtype) * loss

    def conjugate(
        self, dual: Float[Array, "K ..."], targets: Float[Array, "K ..."]
    ) -> Float[Array, ...]:
        r"""$\sum_k a_k \log a_k$ with $a = q + u$ on the simplex.

        Returns
        -------
        Float[Array, ...]
            Of every sample; $+\infty$ where a lies off the simplex by more than rounding.
        """
        point, log_point, _ = _point(dual, targets)
        # rounding of a point that lies on the simplex exactly: K terms of size eps
        slack = 32 * len(targets) * unit_roundoff(point.dtype)
        inside = jnp.min(targets + dual, axis=0) >= -slack
        inside = inside & (jnp.abs(jnp.sum(dual, axis=0)) <= slack)
        # targets that sum to one to rounding only: their sum times what is left is still a simplex
        return jnp.where(inside, jnp.sum(point * log_point, axis=0) - _excess(targets), jnp.inf)

    def conjugate_error(
        self, dual: Float[Array, "K ..."], targets: Float[Array, "K ..."]
    ) -> Float[Array, ...]:
        """Rounding of a log a, of a itself, and of the entries' sum, which is zero exactly.

        Returns
        -------
        Float[Array, ...]
            Of every sample, >= 0.
        """
        point, log_point, largest = _point(dual, targets)
        # the largest entry makes up for what the others do not sum to
        shaken = jnp.sum(jnp.abs(dual), axis=0) * (1 - largest)
        # a is off by eps min(a, 1 − a) <= -2 eps a log a, and the terms have one sign
        terms = 3 * jnp.abs(jnp.sum(point * log_point, axis=0))
        return (len(targets) + 8) * unit_roundoff(dual.dtype) * (terms + shaken)

    def best_bias(
        self,
        logits: Float[Array, "K C"],
        targets: Float[Array, "K C"],
        column_weights: Float[Array, " C"],
    ) -> Float[Array, " K"]:
        """Newton with backtracking from b = 0, in the K-dimensional bias, until rounding stops it.

        Returns
        -------
        Float[Array, " K"]
            Any minimiser, as a shift of all logits costs nothing.
        """
        K = logits.shape[0]
        eps = jnp.finfo(logits.dtype).eps

        def at(bias) -> _BiasPoint:
            shifted = logits + bias[:, None]
            dual = softmax_less(shifted, targets)
            value = jnp.dot(column_weights, cross_entropy(shifted, targets))
            # logits of size s are known to eps * s, so the value to that times the dual
            pull = jnp.sum(jnp.abs(dual), axis=0) @ column_weights
            noise = 8 * eps * (value + pull * jnp.max(jnp.abs(shifted)))
            probabilities = softmax(shifted)
            return _BiasPoint(bias, value, dual @ column_weights, probabilities, pull, noise)

        def newton(state):
            here, steps, _ = state
            hessian = _bias_hessian(here.probabilities, column_weights)
            # a ridge that vanishes with the gradient, so the convergence stays quadratic
            ridge = 1e-3 * jnp.sqrt(jnp.sum(here.gradient**2)) + eps * here.pull
            step = -jnp.linalg.solve(
                hessian + ridge * jnp.eye(K, dtype=hessian.dtype), here.gradient
            )
            slope = jnp.dot(here.gradient, step)

            def good(length, there: _BiasPoint):
                gained = here.value - there.value
                descends = (gained >= -1e-4 * length * slope) & (gained > here.noise)
                # near the end values are noise and only the gradient can tell
                flattens = jnp.sum(there.gradient**2) <= 0.25 * jnp.sum(here.gradient**2)
                return descends | (flattens & (-gained <= here.noise))

            def unfinished(trial):
                length, there = trial
                return ~good(length, there) & (-length * slope > eps * here.noise) & (length > eps)

            def halve(trial):
                length = trial[0] / 2
                return length, at(here.bias + length * step)

            first = jnp.ones_like(here.value), at(here.bias + step)
            length, there = jax.lax.while_loop(unfinished, halve, first)
            moved = good(length, there)
            kept = jax.tree.map(lambda new, old: jnp.where(moved, new, old), there, here)
            return kept, steps + 1, moved

        def running(state) -> Bool[Array, ""]:
            here, steps, moved = state
            return moved & (steps < 100) & (jnp.sum(here.gradient**2) > (eps * here.pull) ** 2)

        zero = at(jnp.zeros(K, logits.dtype))
        start: tuple[_BiasPoint, Int[Array, ""], Bool[Array, ""]]
        start = (zero, jnp.asarray(0), jnp.asarray(True))
        return jax.lax.while_loop(running, newton, start)[0].bias

    def enclose(self, logits: list, target: list) -> Any:
        """Loss of one column in balls.

        Returns
        -------
        Any
            A `flint.arb` that holds the value.
        """
        return enclosures.cross_entropy(logits, target)

    def enclose_conjugate(self, dual: list, target: list) -> Any:
        r"""Conjugate of one column as a ball.

        Returns
        -------
        Any
            A `flint.arb` that holds the value, $+\infty$ outside the domain.
        """
        return enclosures.cross_entropy_conjugate(dual, target)

    def share_scale(self, num_classes: int) -> Float[Array, " K"]:
        """Ones."""
        return jnp.ones(num_classes)


class _BiasPoint(NamedTuple):
    """A bias, the mean cross-entropy, its gradient, the class probabilities there.

    Σ ω |u|, and what rounding the value carries.
    """

    bias: Float[Array, " K"]
    value: Float[Array, ""]
    gradient: Float[Array, " K"]
    probabilities: Float[Array, "K C"]
    pull: Float[Array, ""]
    noise: Float[Array, ""]


def _bias_hessian(probabilities, column_weights) -> Float[Array, "K K"]:
    """diag(Σ ω p) − Σ ω p pᵀ as the Laplacian that it is, plus a multiple of 1 1ᵀ for the common
    shift."""
    mixed = (probabilities * column_weights[None, :]) @ probabilities.T
    K = len(mixed)
    mixed = mixed * (1 - jnp.eye(K, dtype=mixed.dtype))
    degrees = jnp.sum(mixed, axis=1)
    return jnp.diag(degrees) - mixed + (jnp.mean(degrees) + jnp.finfo(mixed.dtype).tiny) / K


def _point(dual: Array, targets: Array) -> tuple[Array, Array, Array]:
    """a = q + u, not below 0, and log a, which near a = 1 knows a − 1 to all digits; 0 log 0 is 0.

    Then max log a.
    """
    point = jnp.maximum(targets + dual, 0)
    # both are right around the point where one takes over from the other: see `_exponentials` for
    # why; and not at 1/2, because XLA's log1p on a CPU is off by 100 eps for x in (-0.5, -0.29),
    # where a logarithm is not
    less_one = jnp.max((targets - 1) + dual, axis=0)
    # a point of the simplex has one such entry at most, the largest: one log1p a column
    log_near = jnp.log1p(jnp.clip(less_one, -0.25, 1))
    safe = jnp.where(point > 0, point, 1)
    log_point = jnp.where(point > _TO_LOG1P, log_near[None], jnp.log(safe))
    return point, log_point, jnp.log1p(jnp.clip(less_one, 1 / len(dual) - 1, 0))


def _excess(targets: Array) -> Array:
    """S log S with S = Σ q, 1 but for the rounding of the targets."""
    excess = jnp.sum(jnp.where(targets > 0.5, targets - 1, targets), axis=0)
    # where no target is large it is still the sum
    excess = jnp.where(excess > 0.5, excess - 1, excess)
    return jnp.log1p(excess) * (1 + excess)


class AdjustedCrossEntropy(AbstractLoss):
    r"""Cross-entropy of logits scaled and shifted class by class, $\mathrm{CE}(\Delta\circ z +
    \iota)$: the losses made for long tails.

    `multiplicative` $\Delta$ (K,) > 0 and `additive` $\iota$ (K,); ones and zeros unless given.
    $\iota_k = \tau\log n_k$ is logit adjustment (Menon et al. 2021), $\Delta_k =
    (n_k/n_{\max})^\gamma$ is a class-dependent temperature (Ye et al. 2020), and both together are
    the vector-scaling loss (Kini et al. 2021). Both may be traced. Convex in the logits.

    Raises `ValueError` when neither is given, for entries of `multiplicative` that are not
    positive, entries of `additive` that are not finite, and shapes other than (K,).
    """

    name: ClassVar[str] = "adjusted-cross-entropy"
    needs_every_class: ClassVar[bool] = True
    exponential: ClassVar[bool] = True
    multiplicative: Float[Array, " K"]
    additive: Float[Array, " K"]

    def __init__(self, *, multiplicative=None, additive=None):
        given = additive if multiplicative is None else multiplicative
        require(
            given is not None,
            "`multiplicative` or `additive` must be given, one number per class",
            given,
        )
        name = "additive" if multiplicative is None else "multiplicative"
        shape = require_real(name, given, ndim=1).shape
        if additive is not None:
            other = require_real("additive", additive, ndim=1).shape
            require(
                other == shape,
                f"`additive` must have the shape of `multiplicative`, {shape}",
                other,
            )
        self.multiplicative = parameter(
            "multiplicative",
            np.ones(shape) if multiplicative is None else multiplicative,
            require_positive,
            shape,
        )
        self.additive = parameter(
            "additive", np.zeros(shape) if additive is None else additive, require_finite, shape
        )

    @property
    def shift_invariant(self) -> bool:
        """Whether Δ is known to be the same for all classes.

        Else it is the adjusted logits that may be shifted.
        """
        scale = concrete(self.multiplicative)
        return scale is not None and bool(np.all(scale == scale[:1]))

    def flat_direction(self, num_classes: int) -> Float[Array, " K"] | None:
        """1/Δ, which shifts all adjusted logits alike."""
        return 1 / self.multiplicative

    def canonical(self) -> AbstractLoss:
        """Cross-entropy where Δ is 1 and all shifts are equal."""
        given = concrete((self.multiplicative, self.additive))
        if given is None:
            return self
        scale, shift = given
        # lanes of parameters, on any axis, are not looked into
        plain = scale.ndim == 1 and np.all(scale == 1) and np.all(shift == shift[0])
        return CrossEntropy() if plain else self

    def centring(self, mean_dual: Float[Array, " K"], mean_target: Float[Array, " K"]) -> Any:
        """That of cross-entropy, whose dual columns are u/Δ.

        Returns
        -------
        Any
            Arrays, passed to `centred` for every column.
        """
        scale, _ = self._at(mean_dual)
        return CrossEntropy().centring(mean_dual / scale, mean_target)

    def centred(
        self, dual: Float[Array, "K ..."], targets: Float[Array, "K ..."], centring: Any
    ) -> Float[Array, "K ..."]:
        """That of cross-entropy, at u/Δ.

        Returns
        -------
        Float[Array, "K ..."]
            Within the domain of the conjugate.
        """
        scale, _ = self._at(dual)
        return scale * CrossEntropy().centred(dual / scale, targets, centring)

    def centring_pattern(
        self, dual: Float[Array, "K C"], targets: Float[Array, "K C"]
    ) -> Float[Array, "K C"]:
        """That of cross-entropy, at u/Δ.

        Returns
        -------
        Float[Array, "K C"]
            Entries >= 0, up to a factor a row.
        """
        scale, _ = self._at(dual)
        return CrossEntropy().centring_pattern(dual / scale, targets)

    def _at(self, logits: Array) -> tuple[Array, Array]:
        """Δ and ι in the dtype of the logits (K, …), with as many axes."""
        K = len(logits)
        require(
            len(self.additive) == K,
            f"`multiplicative` and `additive` must have shape ({K},)",
            self.additive.shape,
        )
        return per_class(self.multiplicative, beside=logits), per_class(
            self.additive, beside=logits
        )

    def check_targets(self, labels: AbstractLabels) -> None:
        """Those of cross-entropy."""
        CrossEntropy().check_targets(labels)

    def __call__(
        self, logits: Float[Array, "K ..."], targets: Float[Array, "K ..."]
    ) -> Float[Array, ...]:
        """Loss of every sample."""
        scale, shift = self._at(logits)
        return cross_entropy(scale * logits + shift, targets)

    def value_error(
        self, logits: Float[Array, "K ..."], targets: Float[Array, "K ..."]
    ) -> Float[Array, ...]:
        """That of cross-entropy, and of the adjusted logits.

        Returns
        -------
        Float[Array, ...]
            Of every sample, >= 0.
        """
        scale, shift = self._at(logits)
        adjusted = scale * logits + shift
        moved = jnp.abs(scale * logits) + jnp.abs(shift)
        pulled = jnp.sum(jnp.abs(softmax_less(adjusted, targets)) * moved, axis=0)
        unit = unit_roundoff(logits.dtype)
        return CrossEntropy().value_error(adjusted, targets) + 4 * unit * pulled

    def conjugate(
        self, dual: Float[Array, "K ..."], targets: Float[Array, "K ..."]
    ) -> Float[Array, ...]:
        r"""That of cross-entropy at $u/\Delta$, less $\iota^\top u/\Delta$.

        Returns
        -------
        Float[Array, ...]
            Of every sample; $+\infty$ outside its domain.
        """
        scale, shift = self._at(dual)
        inner = CrossEntropy().conjugate(dual / scale, targets)
        return inner - jnp.sum(shift * dual / scale, axis=0)

    def conjugate_error(
        self, dual: Float[Array, "K ..."], targets: Float[Array, "K ..."]
    ) -> Float[Array, ...]:
        """That of cross-entropy at u/Δ, and of the sum over the shifts.

        Returns
        -------
        Float[Array, ...]
            Of every sample, >= 0.
        """
        scale, shift = self._at(dual)
        terms = jnp.sum(jnp.abs(shift * dual / scale), axis=0)
        unit = unit_roundoff(dual.dtype)
        inner = CrossEntropy().conjugate_error(dual / scale, targets)
        return inner + (len(targets) + 4) * unit * terms

    def best_bias(
        self,
        logits: Float[Array, "K C"],
        targets: Float[Array, "K C"],
        column_weights: Float[Array, " C"],
    ) -> Float[Array, " K"]:
        """That of cross-entropy for the adjusted logits, over Δ.

        Returns
        -------
        Float[Array, " K"]
            Any minimiser where a shift of all logits costs nothing.
        """
        scale, shift = self._at(logits)
        adjusted = scale * logits + shift
        return CrossEntropy().best_bias(adjusted, targets, column_weights) / scale[:, 0]

    def enclose(self, logits: list, target: list) -> Any:
        """Loss of one column in balls.

        Returns
        -------
        Any
            A `flint.arb` that holds the value.
        """
        scale, shift = map(enclosures.exact, (self.multiplicative, self.additive))
        adjusted = [d * z + s for d, z, s in zip(scale, logits, shift, strict=True)]
        return enclosures.cross_entropy(adjusted, target)

    def enclose_conjugate(self, dual: list, target: list) -> Any:
        r"""Conjugate of one column as a ball.

        Returns
        -------
        Any
            A `flint.arb` that holds the value, $+\infty$ outside the domain.
        """
        scale, shift = map(enclosures.exact, (self.multiplicative, self.additive))
        shares = [u / d for u, d in zip(dual, scale, strict=True)]
        linear = sum(s * u for s, u in zip(shift, shares, strict=True))
        return enclosures.cross_entropy_conjugate(shares, target) - linear

    def share_scale(self, num_classes: int) -> Float[Array, " K"]:
        """The multiplicative part Δ."""
        return self.multiplicative
