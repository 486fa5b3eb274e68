"""Balanced cross-entropy behind M linear layers.

Stationary points and structures of low rank, as candidates and not as optima.

For M >= 2 no global optimum is known. Every structure here is a direct sum of blocks of classes
(`deep_blocks.py` has the objective), and the best direct sum is found by dynamic programming. An
orthoplex (vectors ±e_i) has the Gram matrix of a sum of pairs, so it is not a structure of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ufm._classes.module import Displayed
from ufm.model import Problem, require_decay
from ufm.optima.deep_blocks import BalancedSetting, Block, deep_hypotheses
from ufm.optima.facts import Facts
from ufm.optima.hypotheses import require_all


@dataclass(frozen=True, kw_only=True, eq=False)
class DeepCandidate(Displayed):
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
    setting = BalancedSetting.of(facts)
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
    candidates = [_candidate(setting, name, parts) for name, parts in named]
    return tuple(sorted((c for c in candidates if c is not None), key=lambda c: c.value))


def _candidate(setting: BalancedSetting, name: str, parts) -> DeepCandidate | None:
    """The direct sum of blocks, pairs of kind and size; None where one has no scale or no room."""
    solved = {part: setting.block(*part) for part in set(parts)}
    blocks = [solved[part] for part in parts]
    if any(block is None for block in blocks):
        return None
    blocks = tuple(block for block in blocks if block is not None)
    rank = sum(block.rank for block in blocks)
    if rank > setting.rank_limit:
        return None
    logits, at = np.zeros((setting.K, setting.K)), 0
    for block in blocks:
        logits[at : at + block.size, at : at + block.size] = block.logits
        at += block.size
    # residuals act on a block's contrasts as a number. A single class has the non-contrast e_i,
    # which others answer to; and unless all blocks are alike the residuals of a class do not
    # sum to 0, which a bias would use.
    contrasts = all(block.kind != "single" for block in blocks)
    stationary = contrasts and not (setting.biased and len({(b.kind, b.size) for b in blocks}) > 1)
    value = float(sum(block.value for block in blocks))
    return DeepCandidate(
        name=name,
        blocks=blocks,
        value=value,
        trivial_value=float(np.log(setting.K)),
        logits=logits,
        rank=rank,
        stationary=stationary,
    )


def _best_parts(setting: BalancedSetting) -> list[tuple[str, int]]:
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
