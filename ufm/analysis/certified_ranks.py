r"""Certified ranks of the optimum along an axis of strengths of decay.

At a probe the problem is solved and certified, and its rank counted twice: as singular values of
the product that are not zero, and as singular values of the dual matrix that are μ; a probe where
the two disagree, or the gap does not close, decides nothing. With a gap g and the next singular
value σ of the dual, no optimum has more than $g\,|f|/(\mu - \sigma)$ of its nuclear norm outside
the directions that were counted.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ufm._system.progress import Progress
from ufm._validate import require
from ufm.certificates import certify
from ufm.labels import AbstractLabels, soft
from ufm.losses import loss_and_dual
from ufm.model import Params, Problem, require_certifiable, require_plain
from ufm.optima.facts import Facts
from ufm.solution import Result
from ufm.solvers import minimise
from ufm.tolerances import for_dtype

# A singular value of the product is zero below this part of the targets', one of the dual is μ from
# this part of it off: a relative distance δ from a threshold moves both by about δ, and a solution
# is known to 1e-9 for δ = 1e-7.
_ZERO = 1e-8
_STARTS = 3


@dataclass(frozen=True, kw_only=True)
class Probe:
    """The certified optimum at a strength.

    Its rank, None where it is undecided, and lengths and directions of features (d, C).
    """

    strength: float
    rank: int | None
    features: np.ndarray


class Line:
    """A problem along the axis of strengths, one column for each distinct target."""

    def __init__(self, problem: Problem, facts: Facts):
        self.facts, self.problem = facts, problem
        self.labels = _collapsed(problem.labels, facts)
        self.natural = float(
            np.linalg.norm(
                np.asarray(self.labels.targets) * np.sqrt(np.asarray(self.labels.masses)), 2
            )
        )
        self.probes: dict[float, Probe] = {}
        self.bar: Progress | None = None
        self._require_certifiable()

    def _require_certifiable(self) -> None:
        """`ValueError` naming what keeps certificates away, λ = 0 apart."""
        require_plain(self.problem, "thresholds by certificates")
        dtype = self.problem.dtype
        words = "`problem` must be in float64 for thresholds by certificates, which close to 1e-9"
        require(for_dtype(dtype).verifies, words, dtype)
        require_certifiable(self.problem.replace(lambda_W=1.0, lambda_H=1.0))

    @property
    def full_rank(self) -> int:
        """What the rank cannot exceed.

        Dual columns have no part along a flat direction, nor along the samples with a free bias.
        """
        K, C = self.labels.num_classes, self.labels.num_columns
        flat = self.problem.loss.flat_direction(K) is not None
        groups = len(np.unique(self.labels.shift_groups))
        return min(K - flat * groups, C - self.problem.free_bias)

    def at(self, strength: float) -> Problem:
        """The problem at a strength, with equal decay of both factors."""
        decay = strength / self.facts.N
        loss, width = (
            self.problem.bare_loss.canonical(),
            min(self.labels.num_classes, self.labels.num_columns),
        )
        return self.problem.replace(
            labels=self.labels, loss=loss, widths=(width,), lambda_W=decay, lambda_H=decay
        )

    def probe(self, strength: float) -> Probe:
        """The optimum there."""
        if strength not in self.probes:
            problem = self.at(strength)
            for seed in range(_STARTS):
                solution = minimise(problem, key=jax.random.key(seed), progress=False)
                if solution.result is Result.INTERRUPTED:
                    raise KeyboardInterrupt
                if solution.result.ok and certify(problem, solution.params).closes():
                    break
            else:
                self.probes[strength] = Probe(
                    strength=strength, rank=None, features=np.zeros((1, 1))
                )
                return self.probes[strength]
            self.probes[strength] = self._judged(problem, solution.params, strength)
            if self.bar is not None:
                self.bar.update(len(self.probes))
        return self.probes[strength]

    def _judged(self, problem: Problem, params: Params, strength: float) -> Probe:
        features = np.asarray(params.features) * np.sqrt(np.asarray(problem.labels.masses))
        product = np.linalg.svd(np.asarray(params.classifier) @ features, compute_uv=False)
        dual_values = (
            np.linalg.svd(np.asarray(_lifted_dual(problem, params)), compute_uv=False)
            * self.facts.N
            / strength
        )
        rank = int(np.sum(product > _ZERO * self.natural))
        agreed = rank == int(np.sum(dual_values > 1 - _ZERO))
        return Probe(strength=strength, rank=rank if agreed else None, features=features)


@jax.jit
def _lifted_dual(problem: Problem, params: Params) -> Array:
    """[ω_c u_c / √m_c] at the best bias."""
    labels, loss, logits = problem.labels, problem.loss, params.logits
    if problem.free_bias:
        logits = logits + loss.best_bias(logits, labels.targets, labels.column_weights)[:, None]
    _, dual = loss_and_dual(loss, logits, labels.targets)
    return dual * (labels.column_weights / jnp.sqrt(labels.masses))[None, :]


def _collapsed(labels: AbstractLabels, facts: Facts) -> AbstractLabels:
    """One column a distinct target.

    A convex loss gains nothing by more, where all samples count alike.
    """
    if not facts.equal_weights or labels.offsets is not None:
        return labels
    columns = facts.distinct if not facts.one_target_per_class else facts.classes
    if (columns.masses == 0).any():
        columns = facts.distinct
    return soft(jnp.asarray(columns.targets), jnp.asarray(columns.masses), dtype=labels.dtype)
