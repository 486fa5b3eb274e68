r"""Blocks of classes, whose direct sums are structures of balanced cross-entropy behind M layers.

At balanced factors the objective is a function of the class-level logits alone,

$$f(\bar Z) = \frac1K\sum_k \ell(\bar z_k, k) + \frac{M+1}{2}\,\Lambda\sum_i(\sqrt n\,\sigma_i(\bar
Z))^{2/(M+1)},\qquad
  \Lambda = (\lambda_M\cdots\lambda_1\lambda_H)^{1/(M+1)},$$

and logits between classes of different blocks are 0. A class then sees the own logit β of its
block, the block's other logits and zeros, so that the blocks decouple into one scalar problem each.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ufm._validate import require
from ufm.optima.facts import Facts
from ufm.optima.hypotheses import (
    Hypothesis,
    balanced,
    loss_named,
    one_hot,
    plain_decay,
    target_per_class,
    unconstrained,
)
from ufm.optima.scale import ScaleProblem


@dataclass(frozen=True, eq=False)
class Block:
    r"""Some classes with logits of their own.

    "simplex" (p, Gram of a regular simplex; p = 2 is a pair), "circle", "single", "zero".

    `size`: p, its number of classes. `scale`: β, the logit of a class at itself. `roots`: all
    positive stationary scales, ascending. `value`: its share of the objective. `threshold`: with
    $\Lambda n^{1/(M+1)}$ at or above it the block is no better than zero logits. `existence`: at or
    above this no scale is stationary but 0.
    """

    kind: str
    size: int
    scale: float
    roots: tuple[float, ...]
    value: float
    threshold: float
    existence: float

    @property
    def rank(self) -> int:
        """Rank of its logits."""
        return {"simplex": self.size - 1, "circle": 2, "single": 1, "zero": 0}[self.kind]

    @property
    def logits(self) -> np.ndarray:
        """Its logits (p, p), β on the diagonal."""
        return self.scale * template(self.kind, self.size)


def template(kind: str, size: int) -> np.ndarray:
    """Logits (p, p) of a block with own logit 1."""
    require(
        kind in ("simplex", "circle", "single", "zero"),
        '`kind` must be "simplex", "circle", "single" or "zero"',
        kind,
    )
    if kind == "simplex":
        return (size * np.eye(size) - 1) / (size - 1)
    if kind == "circle":
        angles = 2 * np.pi * np.arange(size) / size
        return np.cos(angles[:, None] - angles[None, :])
    return np.full((size, size), 1.0 if kind == "single" else 0.0)


def deep_hypotheses(facts: Facts) -> Iterator[Hypothesis]:
    """What the structures rest on, at any depth."""
    yield from (loss_named(facts, "cross-entropy"), unconstrained(facts), *plain_decay(facts))
    yield from (*target_per_class(facts), one_hot(facts), balanced(facts))


@dataclass(frozen=True, eq=False)
class BalancedSetting:
    """The numbers of a balanced problem."""

    K: int
    n: float
    depth: int
    Lambda: float
    rank_limit: int
    biased: bool

    @classmethod
    def of(cls, facts: Facts) -> BalancedSetting:
        n = float(facts.classes.masses.mean())
        return cls(facts.K, n, facts.M, facts.Lambda, min(facts.widths), facts.bias is not None)

    @property
    def strength(self) -> float:
        """Λ n^{1/(M+1)}."""
        return self.Lambda * self.n ** (1 / (self.depth + 1))

    def scale_problem(self, kind: str, size: int) -> ScaleProblem:
        """The scalar problem of a block among K classes.

        Parameters
        ----------
        kind
            "simplex", "circle" or "single".
        size
            Classes of the block.

        Returns
        -------
        ScaleProblem
            In the scale of the block's logits.
        """
        row = template(kind, size)[0]
        gaps = np.append(row[0] - row[1:], np.ones(self.K - size))
        singular = {
            "simplex": np.full(size - 1, size / max(size - 1, 1)),
            "circle": np.full(2, size / 2),
            "single": np.ones(1),
        }[kind]
        return ScaleProblem(
            gaps,
            share=size / self.K,
            singular_values=singular,
            depth=self.depth,
            strength=self.strength,
        )

    def block(self, kind: str, size: int) -> Block | None:
        """The block at its best nonzero stationary scale.

        Parameters
        ----------
        kind
            "simplex", "circle", "single" or "zero".
        size
            Classes of the block.

        Returns
        -------
        Block | None
            None where there is no such scale.
        """
        if kind == "zero":
            return Block(kind, size, 0.0, (), size / self.K * float(np.log(self.K)), 0.0, 0.0)
        scale = self.scale_problem(kind, size)
        if not scale.roots:
            return None
        best = min(scale.roots, key=scale.value)
        return Block(
            kind, size, best, scale.roots, scale.value(best), scale.threshold, scale.existence
        )
