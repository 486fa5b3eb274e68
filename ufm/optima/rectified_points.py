r"""Networks of ReLU layers with the complexities that `rectified_structures` states.

A block is known by what enters its layers: features, the nonnegative inner layers and the last one
before its ReLU. Every factor is the least one that maps each to the next, by a pseudoinverse.
"""

from __future__ import annotations

import math

import numpy as np

from ufm._validate import require, require_instance, require_positive, require_whole
from ufm.optima.optimum import NoClosedForm
from ufm.optima.rectified import rectified_scale
from ufm.optima.rectified_codes import code_numbers, triangular_root
from ufm.optima.rectified_structures import RectifiedStructure
from ufm.optima.rectified_triple import triple_angle, triple_complexity

# singular values below this, relative to the largest, are rounding
_RANK = 1e-10

Factors = list[np.ndarray]


def rectified_point(
    structure: RectifiedStructure,
    *,
    lambda_W,
    lambda_H: float,
    samples_per_class: float = 1,
    width: int | None = None,
) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
    r"""A network with the structure, at its best scale for these decays.

    Its objective is `rectified_scale(structure.complexity, …).value`.

    Parameters
    ----------
    structure
        One of `rectified_structures` that is realised.
    lambda_W
        Decay of the weights, > 0: one number, or L of them, outermost first.
    lambda_H
        Decay of the features, > 0.
    samples_per_class
        n, > 0.
    width
        Of every hidden layer; as narrow as the structure can be unless given.

    Returns
    -------
    tuple
        Weights (W_L, …, W_1) and features (width, K), one column a class, as `ufm.Params` takes
        them.

    Raises
    ------
    NoClosedForm
        For a structure without a known network, and a width without room for it.
    ValueError
        For decays out of range, and where zero is better than the structure at any scale.
    """
    require_instance("structure", structure, RectifiedStructure)
    require_positive("lambda_W", lambda_W)
    require_positive("lambda_H", lambda_H, shape=())
    require_positive("samples_per_class", samples_per_class, shape=())
    L, given = structure.depth, np.asarray(lambda_W, dtype=np.float64)
    require(given.shape in ((), (L,)), f"`lambda_W` must be one number or {L}", given.shape)
    if not structure.realised:
        raise NoClosedForm(f"needs a structure with a known network; got {structure.name}")
    factors = _side_by_side([unit_factors(*block, L) for block in structure.blocks])
    if width is not None:
        wide = require_whole("width", width)
        least = max(len(factor) for factor in factors[:-1])
        if wide < least:
            raise NoClosedForm(f"needs width >= {least} for {structure.name}; got width={wide}")
        factors = _padded(factors, wide)
    # from the features on
    decays = np.append(samples_per_class * lambda_H, np.broadcast_to(given, L)[::-1])
    strength = float(np.exp(np.mean(np.log(decays))))
    best = rectified_scale(structure.complexity, strength=strength, depth=L)
    words = f"`lambda_W` must be so small that {structure.name} is better than zero"
    require(best.scale > 0, words, given)
    root = best.scale ** (1 / (L + 1))
    H, *weights = (
        root * math.sqrt(strength / lam) * factor
        for lam, factor in zip(decays, factors, strict=True)
    )
    return tuple(reversed(weights)), H


def unit_factors(kind: str, size: int, depth: int) -> Factors:
    """H, W_1, …, W_L of a block with output I, every squared norm equal to its complexity.

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
    Factors
        L + 1 matrices.
    """
    if kind == "collapse":
        return [np.eye(size) for _ in range(depth + 1)]
    features, inner, last = (
        _triple_layers(depth) if kind == "triple" else _code_layers(kind, size, depth)
    )
    entering = [features, *inner]
    factors = [features]
    for layer, onto in zip(entering, [*inner, last], strict=True):
        factors.append(onto @ np.linalg.pinv(layer, rcond=_RANK))
    return [*factors, np.linalg.inv(np.maximum(last, 0))]


def _triple_layers(depth: int) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
    """Features, inner layers, and the last layer before its ReLU."""
    theta, kappa = triple_angle(), triple_complexity(depth)
    sine, cosine = math.sin(theta), math.cos(theta)

    def cone(size: float) -> np.ndarray:
        a, b = size * sine, size * cosine / math.sqrt(2)
        return np.array([[a, b, 0.0], [0.0, b, a]])

    # the balanced steps: κ/(1 + sin θ), κ/2 a layer, and the last
    sizes = [kappa / (1 + sine) * (kappa / 2) ** (step / 2) for step in range(depth - 2)]
    mean = math.sqrt(sizes[-1] / cosine)
    spread = (8 + 4 * math.tan(theta) ** 2) ** 0.25 * math.sqrt(sine * sizes[-1])
    c, e, f = mean * sine / math.sqrt(2), mean * cosine, spread / 2
    last = np.array([[c, e, c], [f, 0.0, -f], [-f, 0.0, f]])
    # features of any sign: the mean direction and the difference, each half-way to the first layer
    direction = np.array([sine / math.sqrt(2), cosine, sine / math.sqrt(2)])
    difference = np.array([1.0, 0.0, -1.0]) / math.sqrt(2)
    features = np.stack([math.sqrt(sizes[0]) * direction, math.sqrt(sine * sizes[0]) * difference])
    return features, [cone(size) for size in sizes], last


def _code_layers(kind: str, size: int, depth: int):
    """As `_triple_layers`, of pairs or a triangular graph."""
    code = code_numbers(kind, size, depth)
    embedded = _embedding(kind, size)
    q, j, kappa = code.rank, code.bound_until, code.complexity
    scale = math.sqrt(q / size)
    vectors = embedded - embedded.mean(axis=1, keepdims=True)
    _, values, rows = np.linalg.svd(vectors, full_matrices=False)
    ones = np.ones(size) / math.sqrt(size)
    s, o = np.ones(depth + 1), np.ones(depth + 1)
    if j:
        s[2] = kappa / (q + code.omega)
        s[3 : j + 1] = s[2] * (kappa / (q + 1)) ** (np.arange(1, j - 1) / 2)
        o[2 : j + 1] = code.omega * s[2 : j + 1]
        s[1], o[1] = math.sqrt(s[2]), math.sqrt(o[2])
    a = s[j] * (kappa / code.spread) ** (1 / code.power)
    grown = np.arange(depth - j + 1) / (depth - j)
    s[j:] = s[j] * (a * size / q / s[j]) ** grown
    # (the ones of a code whose inner products are at most 0 are not needed at the end)
    ends = a * size * abs(code.largest) / o[j]
    o[j:] = o[j] * (ends**grown if ends else grown == 0)
    inner = []
    for left, right in zip(s[2:depth], o[2:depth], strict=True):
        layer = left * scale * embedded
        excess = (right**2 - (code.omega * left) ** 2) / size
        if excess > _RANK * right**2:
            layer = np.vstack([layer, np.full(size, math.sqrt(excess))])
        inner.append(layer)
    features = np.vstack([s[1] * scale * values[:q, None] * rows[:q], o[1] * ones])
    last = a * (vectors.T @ vectors - code.largest)
    return features, inner, last


def _embedding(kind: str, size: int) -> np.ndarray:
    """Nonnegative columns with Gram matrix X^T X + μJ."""
    if kind == "triangular":
        # an edge {i, j} of the complete graph is at its two vertices
        r = triangular_root(size)
        assert r is not None
        incidence = np.zeros((r, size))
        for column, (i, k) in enumerate(zip(*np.triu_indices(r, 1), strict=True)):
            incidence[[i, k], column] = 1.0
        return incidence * math.sqrt(r / (2 * (r - 2)))
    # halves of a set and their complements, any two others of which share a quarter (Sylvester)
    hadamard = np.ones((1, 1))
    while len(hadamard) < size // 2 + 1:
        hadamard = np.block([[hadamard, hadamard], [hadamard, -hadamard]])
    signs = hadamard[1 : size // 2 + 1].T
    both = np.stack([1 + signs, 1 - signs], axis=2).reshape(len(signs), size)
    return both / math.sqrt(len(signs))


def _side_by_side(blocks: list[Factors]) -> Factors:
    """Networks next to each other."""
    together = []
    for factors in zip(*blocks, strict=True):
        total = np.zeros(np.sum([factor.shape for factor in factors], axis=0))
        row = column = 0
        for factor in factors:
            total[row : row + len(factor), column : column + factor.shape[1]] = factor
            row, column = row + len(factor), column + factor.shape[1]
        together.append(total)
    return together


def _padded(factors: Factors, width: int) -> Factors:
    """With unused units."""
    H, *inner, last = factors
    wide = [np.pad(H, ((0, width - len(H)), (0, 0)))]
    for W in inner:
        wide.append(np.pad(W, ((0, width - len(W)), (0, width - W.shape[1]))))
    return [*wide, np.pad(last, ((0, 0), (0, width - last.shape[1])))]
