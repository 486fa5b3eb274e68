r"""Balanced cross-entropy behind M linear layers.

Stationary points and structures of low rank, as candidates and not as optima.

For M >= 2 no global optimum is known. At balanced factors the objective is a function of the
class-level logits alone,

$$f(\bar Z) = \frac1K\sum_k \ell(\bar z_k, k) + \frac{M+1}{2}\,\Lambda\sum_i(\sqrt n\,\sigma_i(\bar
Z))^{2/(M+1)},\qquad
  \Lambda = (\lambda_M\cdots\lambda_1\lambda_H)^{1/(M+1)},$$

and every structure below is a direct sum of blocks of classes: logits between classes of different
blocks are 0. A class then sees the own logit β of its block, the block's other logits and zeros, so
that the blocks decouple into one scalar problem each, and the best direct sum is found by dynamic
programming. An orthoplex (vectors ±e_i) has the Gram matrix of a sum of pairs, so it is not a
structure of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ufm._validate import require
from ufm.model import Problem, require_decay
from ufm.optima.facts import Facts
from ufm.optima.hypotheses import (
    Hypothesis,
    balanced,
    loss_named,
    one_hot,
    plain_decay,
    require_all,
    target_per_class,
    unconstrained,
)
from ufm.optima.optimum import NoClosedForm
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


@dataclass(frozen=True, kw_only=True, eq=False)
class DeepCandidate:
    r"""A feasible point of balanced cross-entropy, known by its logits.

    Its value is an upper bound on the global minimum and no more.

    `name`, `blocks`: the structure. `value`: the objective at balanced factors and b = 0.
    `trivial_value`: log K, at zero logits. `logits` (K, K): class level. `rank`: of the logits.
    `stationary`: whether the point is stationary for the whole problem; where it is not, a descent
    from it ends lower.
    """

    name: str
    blocks: tuple[Block, ...]
    value: float
    trivial_value: float
    logits: np.ndarray
    rank: int
    stationary: bool

    @property
    def threshold(self) -> float:
        r"""$\Lambda n^{1/(M+1)}$ from which on some block of it is better given up."""
        return min((block.threshold for block in self.blocks if block.kind != "zero"), default=0.0)

    def __str__(self) -> str:
        verdict = "stationary" if self.stationary else "feasible, not stationary"
        return f"{self.name}: value {self.value:.12g}, rank {self.rank}, {verdict}"


@dataclass(frozen=True, kw_only=True, eq=False)
class EtfBranch:
    r"""The simplex-ETF points $\bar Z = a(I_K - \tfrac1K\mathbf 1\mathbf 1^\top)$ of balanced
    cross-entropy.

    `large`, `small`: the stationary scales a, the local minimum and the local maximum along the
    branch; NaN where they do not exist (for M = 1 there is no small one). `large_value`,
    `small_value`: the objective there, NaN likewise. `trivial_value`: log K. `strength`: $\Lambda
    n^{1/(M+1)}$. `threshold`: the strength from which on zero logits are better than the branch.
    `existence`: the strength from which on there is no stationary scale. For M = 1 the large one is
    the global optimum; for M >= 2 it is a stationary point.
    """

    large: float
    small: float
    large_value: float
    small_value: float
    trivial_value: float
    strength: float
    threshold: float
    existence: float


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


def etf_branch(problem: Problem) -> EtfBranch:
    r"""Both simplex-ETF points of balanced cross-entropy with M >= 1 linear layers, with their
    thresholds.

    The scale solves $1/(e^a + K - 1) = \Lambda n^{1/(M+1)} a^{(1-M)/(1+M)}$; the value is
    $\log(1+(K-1)e^{-a}) + \tfrac{M+1}{2}\Lambda (K-1)(a\sqrt n)^{2/(M+1)}$. A bias is 0 there.
    Stationary for every M, globally optimal for M = 1 (Zhu et al. 2021) and, for M >= 2, in general
    not: see `deep_candidates`.

    Raises `NoClosedForm` unless the labels are one-hot and balanced, the loss cross-entropy, every
    width at least K − 1, without anchor or frozen weights; `ValueError` for λ <= 0. Source: Garrod
    & Keating 2025.
    """
    facts = Facts.of(problem)
    require_decay(problem, "a closed form")
    require_all(deep_hypotheses(facts))
    setting = _Setting.of(facts)
    if setting.rank_limit < setting.K - 1:
        raise NoClosedForm(
            f"needs every width >= K - 1; got widths={problem.widths}, K={setting.K}"
        )
    scale = setting.scale_problem("simplex", setting.K)
    stretch = setting.K / (setting.K - 1)
    # along the branch the objective falls to a minimum at the largest scale, and for M >= 2 rises
    # to a maximum before
    found: list[float] = [*scale.roots]
    large = found.pop() if found else np.nan
    small = found.pop() if found else np.nan
    return EtfBranch(
        large=stretch * large,
        small=stretch * small,
        large_value=scale.value(large),
        small_value=scale.value(small),
        trivial_value=float(np.log(setting.K)),
        strength=setting.strength,
        threshold=scale.threshold,
        existence=scale.existence,
    )


def deep_candidates(problem: Problem) -> tuple[DeepCandidate, ...]:
    r"""The structures in closed form of balanced cross-entropy with M linear layers, lowest value
    first.

    The simplex ETF; pairs (for odd K with one class alone, or with a triple); the circle, K unit
    vectors in the plane; the best direct sum of simplices and circles that the widths have room
    for; zero logits. Each at its best scale, where it has a nonzero stationary one, and with
    balanced factors; a bias is 0 in all of them. The first is the best of these structures and not
    the global optimum: a search may find a lower one.

    Raises as `etf_branch` does, except that narrow widths leave structures out instead. Source:
    Garrod & Keating 2025 for ETF, pairs and circle.
    """
    facts = Facts.of(problem)
    require_decay(problem, "a closed form")
    require_all(deep_hypotheses(facts))
    return candidates_of(facts)


def candidates_of(facts: Facts) -> tuple[DeepCandidate, ...]:
    """`deep_candidates` of facts that meet `deep_hypotheses`."""
    setting = _Setting.of(facts)
    K, half = setting.K, setting.K // 2
    named: list[tuple[str, list[tuple[str, int]]]] = [("simplex ETF", [("simplex", K)])]
    if K % 2 == 0 and K > 2:
        named.append(("pairs", [("simplex", 2)] * half))
    elif K > 3:
        named.append(("pairs and a single class", [("simplex", 2)] * half + [("single", 1)]))
        named.append(("pairs and a triple", [("simplex", 2)] * (half - 1) + [("simplex", 3)]))
    if K > 4:
        named.append(("circle", [("circle", K)]))
    named.append(("zero", [("zero", K)]))
    best = _best_parts(setting)
    if all(sorted(parts) != best for _, parts in named):
        named.append(("best direct sum", best))
    candidates = [setting.candidate(name, parts) for name, parts in named]
    return tuple(sorted((c for c in candidates if c is not None), key=lambda c: c.value))


def etf_scale_problem(facts: Facts) -> ScaleProblem:
    """The scalar problem of the simplex ETF, for facts that meet `deep_hypotheses` or all of them
    but decay."""
    return _Setting.of(facts).scale_problem("simplex", facts.K)


def deep_hypotheses(facts: Facts) -> Iterator[Hypothesis]:
    """What the structures rest on, at any depth."""
    yield from (loss_named(facts, "cross-entropy"), unconstrained(facts), *plain_decay(facts))
    yield from (*target_per_class(facts), one_hot(facts), balanced(facts))


@dataclass(frozen=True, eq=False)
class _Setting:
    """The numbers of a balanced problem."""

    K: int
    n: float
    depth: int
    Lambda: float
    rank_limit: int
    biased: bool

    @classmethod
    def of(cls, facts: Facts) -> _Setting:
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

    def candidate(self, name: str, parts) -> DeepCandidate | None:
        """The direct sum of blocks.

        Parameters
        ----------
        name
            Of the candidate.
        parts
            Pairs of kind and size.

        Returns
        -------
        DeepCandidate | None
            None where a block has no scale or the widths no room.
        """
        solved = {part: self.block(*part) for part in set(parts)}
        blocks = [solved[part] for part in parts]
        if any(block is None for block in blocks):
            return None
        blocks = tuple(block for block in blocks if block is not None)
        rank = sum(block.rank for block in blocks)
        if rank > self.rank_limit:
            return None
        logits, at = np.zeros((self.K, self.K)), 0
        for block in blocks:
            logits[at : at + block.size, at : at + block.size] = block.logits
            at += block.size
        # residuals act on a block's contrasts as a number. A single class has the non-contrast e_i,
        # which others answer to; and unless all blocks are alike the residuals of a class do not
        # sum to 0, which a bias would use.
        contrasts = all(block.kind != "single" for block in blocks)
        stationary = contrasts and not (self.biased and len({(b.kind, b.size) for b in blocks}) > 1)
        value = float(sum(block.value for block in blocks))
        return DeepCandidate(
            name=name,
            blocks=blocks,
            value=value,
            trivial_value=float(np.log(self.K)),
            logits=logits,
            rank=rank,
            stationary=stationary,
        )


def _best_parts(setting: _Setting) -> list[tuple[str, int]]:
    """The direct sum of least value within the rank limit, by dynamic programming over classes and
    rank."""
    K, limit = setting.K, min(setting.rank_limit, setting.K)
    kinds = [
        ("zero", 1),
        ("single", 1),
        *(("simplex", p) for p in range(2, K + 1)),
        *(("circle", p) for p in range(5, K + 1)),
    ]
    blocks = [
        block
        for kind in kinds
        if (block := setting.block(*kind)) is not None and block.rank <= limit
    ]
    best = np.full((K + 1, limit + 1), np.inf)
    best[0] = 0.0
    chosen = np.full((K + 1, limit + 1), -1)
    for k in range(1, K + 1):
        for i, block in enumerate(blocks):
            if block.size > k:
                continue
            offer = np.full(limit + 1, np.inf)
            offer[block.rank :] = best[k - block.size, : limit + 1 - block.rank] + block.value
            better = offer < best[k]
            best[k, better], chosen[k, better] = offer[better], i
    parts, k, room = [], K, limit
    while k > 0:
        block = blocks[chosen[k, room]]
        parts.append((block.kind, block.size))
        k, room = k - block.size, room - block.rank
    if all(kind == "zero" for kind, _ in parts):
        return [("zero", K)]
    return sorted(parts)
