r"""The sharp codes that have a short exact construction, and one famous code that is not sharp.

A code with m inner products is sharp where it is a spherical design of strength 2m − 1. All sharp
codes are here that come from polygons, from the root system $E_8$ and from the binary Golay code,
as the code itself or as the neighbours of one of its vectors. Names and numbers: Cohn & Kumar 2007,
table 1 (recalled); products and strengths are computed by `Code`.
"""

from __future__ import annotations

import functools
import itertools

import numpy as np

from ufm._validate import require, require_instance, require_static, require_whole
from ufm.frames.angles import directions
from ufm.frames.code import SAME_PRODUCT, Code
from ufm.frames.collapsed import contrasts


def polygon(num_vectors: int) -> Code:
    """The regular polygon of K >= 3 vertices in the plane."""
    K = require_whole("num_vectors", num_vectors, least=3)
    angles = 2 * np.pi * np.arange(K) / K
    return Code(f"{K}-gon", np.stack([np.cos(angles), np.sin(angles)], axis=1))


def simplex(dim: int) -> Code:
    """The d + 1 vertices of the regular simplex in d >= 2 dimensions: any two at −1/d."""
    d = require_whole("dim", dim, least=2)
    return Code(f"simplex in R^{d}", np.sqrt((d + 1) / d) * contrasts(d + 1).T)


def orthoplex(dim: int) -> Code:
    """The 2d vectors ± e_i in d >= 2 dimensions (octahedron: d = 3)."""
    d = require_whole("dim", dim, least=2)
    return Code(f"orthoplex in R^{d}", np.concatenate([np.eye(d), -np.eye(d)]))


def icosahedron() -> Code:
    """12 vectors in three dimensions: products ± 1/√5 and −1."""
    golden = (1 + np.sqrt(5)) / 2
    corners = [(0.0, a, b * golden) for a in (1, -1) for b in (1, -1)]
    vectors = np.array([np.roll(corner, shift) for corner in corners for shift in range(3)])
    return Code("icosahedron", vectors / np.sqrt(1 + golden**2))


def half_cube() -> Code:
    """16 vectors in R^5, every second corner of a cube: products 1/5 and −3/5."""
    corners = np.array(list(itertools.product((1.0, -1.0), repeat=5)))
    return Code("16 in R^5", corners[corners.prod(axis=1) > 0] / np.sqrt(5))


def root_system_e8() -> Code:
    """The 240 roots of E8 in R^8: products ± 1/2, 0 and −1."""
    halves = np.array(list(itertools.product((0.5, -0.5), repeat=8)))
    pairs = _signed_pairs(8)
    return Code("E8 roots", np.concatenate([pairs, halves[halves.prod(axis=1) > 0]]) / np.sqrt(2))


def gosset_polytope() -> Code:
    """56 vectors in R^7, the neighbours of a root of E8: products ± 1/3 and −1."""
    return derived_code(root_system_e8(), 1 / 2, name="56 in R^7")


def schlaefli_polytope() -> Code:
    """27 vectors in R^6, the neighbours in `gosset_polytope`: products 1/4 and −1/2."""
    return derived_code(gosset_polytope(), 1 / 3, name="27 in R^6")


def equiangular_552() -> Code:
    """552 vectors in R^23, on 276 lines: products ± 1/5 and −1."""
    heavy = np.array([5.0, *[1.0] * 23])
    axes = 4 * (np.eye(24)[1:] + np.eye(24)[0])
    words = _golay_code()
    octads = words[(words.sum(axis=1) == 8) & (words[:, 0] == 1)]
    # 8 is the square of √8, in which coordinates of the Leech lattice are whole
    flipped = (1 - 2 * octads) * np.array([-3.0, *[1.0] * 23])
    others = np.ones((23, 24)) - 4 * np.eye(24)[1:]
    return _slice_of("552 in R^23", np.concatenate([axes, 2.0 * octads, flipped, others]), heavy)


def leech_4600() -> Code:
    """4600 vectors in R^23, neighbours of a shortest one of Leech's: products ± 1/3, 0 and −1."""
    heavy = np.zeros(24)
    heavy[:2] = 4
    words = _golay_code()
    pairs = itertools.product((0, 1), range(2, 24), (1, -1))
    axes = 4 * np.array([np.eye(24)[i] + sign * np.eye(24)[j] for i, j, sign in pairs])
    octads = words[(words.sum(axis=1) == 8) & (words[:, :2].sum(axis=1) == 2)]
    signs = np.array([s for s in itertools.product((1, -1), repeat=6) if np.prod(s) > 0])
    signed = np.zeros((len(octads), len(signs), 24))
    for word, rows in zip(octads, signed, strict=True):
        rows[:, np.flatnonzero(word)] = 2 * np.insert(signs, [0, 0], 1, axis=1)
    odd = []
    for i in (0, 1):
        shape = np.ones(24)
        shape[i] = -3
        odd.append((1 - 2 * words[(words[:, i] == 1) & (words[:, 1 - i] == 0)]) * shape)
    return _slice_of("4600 in R^23", np.concatenate([axes, signed.reshape(-1, 24), *odd]), heavy)


def cell_24() -> Code:
    """24 vectors in R^4, the roots of D4: of strength 5 with four products, hence not sharp."""
    return Code("24-cell", _signed_pairs(4) / np.sqrt(2))


def derived_code(code: Code, product: float, *, name: str | None = None) -> Code:
    r"""The vectors at one inner product t with the first: a code in one dimension less.

    $x\mapsto(x - t\,x_1)/\sqrt{1-t^2}$, turned into the first d − 1 coordinates by a reflection.

    Parameters
    ----------
    code
        In d >= 3 dimensions.
    product
        One of its inner products, −1 < t < 1, to 1e-9.
    name
        Of the new code, made from that of the old one unless given.

    Returns
    -------
    Code
        In d − 1 dimensions.

    Raises
    ------
    ValueError
        For d < 3, and where fewer than two vectors have this product.
    """
    require_instance("code", code, Code, "a Code of ufm.frames")
    if name is not None:
        require_instance("name", name, str, "words")
    require_static("product", product, lambda t: np.abs(t) < 1, "be between -1 and 1")
    require(code.dim >= 3, "`code` must be in d >= 3 dimensions", code.dim)
    vectors = code.vectors
    chosen = np.abs(vectors @ vectors[0] - product) < SAME_PRODUCT
    require(
        chosen.sum() >= 2, "`product` must be that of two vectors or more with the first", product
    )
    rows = _seen_along(vectors[chosen], vectors[0])
    return Code(name or f"neighbours at {product:.4g} in {code.name}", directions(rows))


@functools.cache
def sharp_codes() -> tuple[Code, ...]:
    """The sharp codes of up to 1000 vectors, polygons and orthoplexes up to 8; no simplices.

    Built once, in about a second. `leech_4600` is the largest that is not among them.
    """
    lines = equiangular_552()
    graph = derived_code(lines, 1 / 5, name="275 in R^22")
    return (
        *(polygon(K) for K in (4, 5, 6, 7, 8)),
        *(orthoplex(d) for d in (3, 4, 5, 6, 8)),
        icosahedron(),
        half_cube(),
        schlaefli_polytope(),
        gosset_polytope(),
        root_system_e8(),
        derived_code(graph, -1 / 4, name="112 in R^21"),
        derived_code(graph, 1 / 6, name="162 in R^21"),
        graph,
        lines,
        derived_code(leech_4600(), 1 / 3, name="891 in R^22"),
    )


def _signed_pairs(dim: int) -> np.ndarray:
    """± e_i ± e_j, i < j."""
    axes = np.eye(dim)
    pairs = itertools.combinations(range(dim), 2)
    return np.array([a * axes[i] + b * axes[j] for i, j in pairs for a in (1, -1) for b in (1, -1)])


def _slice_of(name: str, vectors: np.ndarray, heavy: np.ndarray) -> Code:
    """Vectors at one angle with `heavy`, as the code that they are in its orthogonal complement."""
    rows = _seen_along(vectors, heavy / np.linalg.norm(heavy))
    return Code(name, directions(rows))


def _seen_along(vectors: np.ndarray, axis: np.ndarray) -> np.ndarray:
    """The part of each row that is orthogonal to a unit vector, in d − 1 coordinates."""
    last = np.eye(len(axis))[-1]
    # Householder's reflection, of the two the one without cancellation
    towards = axis + np.copysign(1.0, axis[-1]) * last
    reflected = vectors - 2 * np.outer(vectors @ towards, towards) / (towards @ towards)
    return reflected[:, :-1]


@functools.cache
def _golay_code() -> np.ndarray:
    """The 4096 words (of 0 and 1) of the extended binary Golay code, of length 24."""
    # quadratic residue code of length 23: powers of x in its generator polynomial
    generator = np.zeros(23, int)
    generator[[0, 1, 5, 6, 7, 9, 11]] = 1
    rows = np.array([np.roll(generator, shift) for shift in range(12)])
    rows = np.concatenate([rows, rows.sum(axis=1, keepdims=True) % 2], axis=1)
    messages = np.array(list(itertools.product((0, 1), repeat=12)))
    return messages @ rows % 2
