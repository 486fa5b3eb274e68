"""Softmax cross-entropy; `ufm/losses/stable.py` has its numbers."""

from __future__ import annotations

from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ufm._programs.jit import one_program
from ufm._validate import require
from ufm.labels import AbstractLabels
from ufm.losses import enclosures
from ufm.losses.base import AbstractLoss
from ufm.losses.parameters import per_class
from ufm.losses.rounding import unit_roundoff
from ufm.losses.rows import AbstractRows
from ufm.losses.softmax_bias import softmax_bias
from ufm.losses.softmax_rows import EntropyRows
from ufm.losses.stable import cross_entropy, summing_to_zero

# log a is log1p(a − 1) above this, see `_point`.
_TO_LOG1P = 0.8


class CrossEntropy(AbstractLoss):
    r"""Softmax cross-entropy of one sample, $-\sum_k q_k \log p_k$ with $p = \mathrm{softmax}(z)$.

    Targets are probabilities: entries >= 0 that sum to one in each column, to rounding.
    """

    name: ClassVar[str] = "cross-entropy"
    needs_every_class: ClassVar[bool] = True
    exponential: ClassVar[bool] = True
    shift_invariant: ClassVar[bool] = True
    drops_classes: ClassVar[bool] = True

    @property
    def shifts(self) -> Float[Array, "1 1"]:
        """Nothing."""
        return jnp.zeros((1, 1))

    def rows(
        self, root: Float[Array, "K K"], scale: Float[Array, ""], gamma: Float[Array, ""]
    ) -> AbstractRows:
        """The Hessian is that of the softmax, explicit under a simplex ETF.

        Returns
        -------
        AbstractRows
            The loss, its residual and that Hessian.
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
        return summing_to_zero(out, sizes, jnp.sum(sizes, axis=0))

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
        """`ValueError` for one class, entries below 0 and columns that do not sum to one (no
        minimum)."""
        words = "`labels` must have K >= 2 classes for cross-entropy"
        require(labels.num_classes >= 2, words, labels.num_classes)
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
        return softmax_bias(logits, targets, column_weights)

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


@one_program()
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


@one_program()
def _excess(targets: Array) -> Array:
    """S log S with S = Σ q, 1 but for the rounding of the targets."""
    excess = jnp.sum(jnp.where(targets > 0.5, targets - 1, targets), axis=0)
    # where no target is large it is still the sum
    excess = jnp.where(excess > 0.5, excess - 1, excess)
    return jnp.log1p(excess) * (1 + excess)
