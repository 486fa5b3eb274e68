r"""Structures of ReLU layers by their complexity: collapse, codes, a triple, and sums of them.

Each is a family of networks with output $I_K$, of singular values that grow by steps between two
ends; balancing the steps gives its least complexity in closed form. For squared error groups of
classes may have networks of their own side by side, so complexities add. All derived here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ufm._classes.module import Displayed
from ufm._validate import require_whole
from ufm.optima.facts import Facts
from ufm.optima.hypotheses import (
    Hypothesis,
    balanced,
    loss_named,
    one_hot,
    plain_decay,
    target_per_class,
    unconstrained,
    without_bias,
)
from ufm.optima.rectified_codes import code_numbers, triangular_root
from ufm.optima.rectified_triple import triple_complexity

# (the best sum is found by dynamic programming over classes)
_MOST_CLASSES = 1000

Blocks = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class RectifiedStructure(Displayed):
    r"""A structure of L ReLU layers with output proportional to $I_K$.

    `blocks`: its groups as (kind, classes), "collapse" (orthogonal frames), "triple", "pairs",
    "triangular" or "polygon". `depth`: L. `complexity`: κ. `realised`: whether networks with it
    exist for sure (`rectified_point` builds one); without that κ is a candidate.
    """

    blocks: Blocks
    depth: int
    complexity: float
    realised: bool

    @property
    def num_classes(self) -> int:
        """K."""
        return sum(size for _, size in self.blocks)

    @property
    def name(self) -> str:
        """Its blocks in words."""
        return " + ".join(f"{kind} of {size}" for kind, size in self.blocks)

    def __str__(self) -> str:
        known = "realised" if self.realised else "candidate, no network known"
        return (
            f"{self.name}: complexity {self.complexity:.12g} of {self.num_classes} of collapse, "
            f"{known}"
        )


def rectified_structures(num_classes: int, depth: int) -> tuple[RectifiedStructure, ...]:
    r"""The structures of ReLU layers on K classes in closed form, least complexity first.

    Collapse (κ = K); pairs (K even); triangular graphs ($K = \binom r2$, strongly regular);
    polygons, as candidates; the triple (K = 3); and the best sum of realised ones. A structure
    beats collapse iff κ < K, at every decay where its value is below that of zero.

    Parameters
    ----------
    num_classes
        K from 2 to 1000.
    depth
        L >= 1, weight matrices, with a ReLU between them.

    Returns
    -------
    tuple of RectifiedStructure
        The first realised one is the best known, and not known to be optimal.

    Raises
    ------
    ValueError
        For K or L out of range.

    Notes
    -----
    Squared error, balanced one-hot labels, no bias, every width at least K. Derived here, but for
    the triangular graphs, which are of Súkeník et al. 2024. Descent finds points below them whose
    output is not a multiple of the identity.
    """
    K = require_whole("num_classes", num_classes, least=2, most=_MOST_CLASSES)
    L = require_whole("depth", depth)
    found: dict[Blocks, float] = {(("collapse", K),): float(K)}
    found |= {(block,): complexity_of(*block, L) for block in _blocks(K, L)}
    best = best_blocks(K, L)
    found[best] = sum(complexity_of(*block, L) for block in best)
    if K > 4 and L > 2:
        found[(("polygon", K),)] = complexity_of("polygon", K, L)
    structures = [
        RectifiedStructure(blocks, L, value, all(kind != "polygon" for kind, _ in blocks))
        for blocks, value in found.items()
    ]
    return tuple(sorted(structures, key=lambda structure: structure.complexity))


def rectified_sums(
    num_classes: int, depth: int, *, most: int = 12
) -> tuple[RectifiedStructure, ...]:
    """The realised structures on K classes of least complexity, at most so many: every sum of
    blocks counts, best first, where `rectified_structures` has the best sum alone.

    Parameters
    ----------
    num_classes
        K from 2 to 1000.
    depth
        L >= 1, weight matrices.
    most
        How many, >= 1.

    Returns
    -------
    tuple of RectifiedStructure
        Ascending in κ.

    Raises
    ------
    ValueError
        For numbers out of range.

    Notes
    -----
    Starts of `ufm.search` for ReLU layers are near these.
    """
    K = require_whole("num_classes", num_classes, least=2, most=_MOST_CLASSES)
    L, most = require_whole("depth", depth), require_whole("most", most)
    # by number of classes, the cheapest sums with what they cost; classes alone are added last
    sums: list[dict[Blocks, float]] = [{(): 0.0}]
    for k in range(1, K + 1):
        here: dict[Blocks, float] = {}
        for blocks, value in sums[k - 1].items():
            here[(*_without(blocks), ("collapse", 1 + _alone(blocks)))] = value + 1
        for size in range(3, k + 1):
            for block in _blocks(size, L):
                cost = complexity_of(*block, L)
                for blocks, value in sums[k - size].items():
                    parts = sorted([*_without(blocks), block])
                    alone = _alone(blocks)
                    joined = (*parts, *([("collapse", alone)] if alone else []))
                    here[joined] = value + cost
        sums.append(dict(sorted(here.items(), key=lambda item: item[1])[:most]))
    return tuple(RectifiedStructure(blocks, L, value, True) for blocks, value in sums[K].items())


def rectified_hypotheses(facts: Facts) -> Iterator[Hypothesis]:
    """Of what these structures speak: ReLU layers, squared error, balanced one-hot labels, no
    bias."""
    yield Hypothesis("kinks", facts.kinked, 'activation="relu"', f"{facts.map} map", 5)
    yield loss_named(facts, "squared-error")
    yield unconstrained(facts)
    yield from plain_decay(facts)
    yield without_bias(facts, "ReLU layers")
    yield from target_per_class(facts)
    yield one_hot(facts)
    yield balanced(facts)
    yield Hypothesis("depth", facts.M >= 2, "M >= 2", f"M={facts.M}", 3)


def _without(blocks: Blocks) -> Blocks:
    return tuple(block for block in blocks if block[0] != "collapse")


def _alone(blocks: Blocks) -> int:
    return sum(size for kind, size in blocks if kind == "collapse")


def complexity_of(kind: str, size: int, depth: int) -> float:
    """κ of a block.

    Parameters
    ----------
    kind
        "collapse", "triple", or a code's.
    size
        Classes of the block.
    depth
        L.

    Returns
    -------
    float
        κ; of collapse it is `size`.
    """
    if kind == "collapse":
        return float(size)
    return (
        triple_complexity(depth) if kind == "triple" else code_numbers(kind, size, depth).complexity
    )


def _blocks(size: int, depth: int) -> list[tuple[str, int]]:
    """The realised blocks of this many classes, besides collapse."""
    # (with one or two matrices nothing is cheaper than collapse; a triangular graph on 6 is pairs)
    kinds = [
        ("triple", size == 3),
        ("pairs", size >= 4 and size % 2 == 0),
        ("triangular", size > 6 and triangular_root(size) is not None),
    ]
    return [(kind, size) for kind, there in kinds if there and depth > 2]


def best_blocks(num_classes: int, depth: int) -> Blocks:
    """The realised blocks on K classes of least total complexity, by dynamic programming."""
    # what ties to rounding stays as it is
    lower = 1 - 1e-12
    values = np.arange(num_classes + 1, dtype=np.float64)
    chosen = [("collapse", 1)] * (num_classes + 1)
    blocks = [
        (block, complexity_of(*block, depth))
        for size in range(3, num_classes + 1)
        for block in _blocks(size, depth)
    ]
    for k in range(1, num_classes + 1):
        values[k] = values[k - 1] + 1
        for block, value in blocks:
            if block[1] <= k and values[k - block[1]] + value < values[k] * lower:
                values[k], chosen[k] = values[k - block[1]] + value, block
    parts, alone, k = [], 0, num_classes
    while k:
        kind, size = chosen[k]
        alone += size if kind == "collapse" else 0
        parts += [] if kind == "collapse" else [(kind, size)]
        k -= size
    return (*sorted(parts), *([("collapse", alone)] if alone else []))
