r"""A code on a sphere: K unit vectors in $\mathbb R^d$, judged by their inner products alone.

Sharpness (few inner products, high strength) is what makes a code the minimiser of every absolutely
monotone energy (Cohn & Kumar 2007, recalled) and what the bounds of `ufm.certificates` start from.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from ufm._classes.module import Displayed
from ufm._validate import (
    require,
    require_finite,
    require_instance,
    require_nonnegative,
    require_whole,
)

# Equal inner products of exact constructions differ by rounding, different ones by far more.
SAME_PRODUCT = 1e-9
# A mean of C_l over all pairs is between 0 and 1; where it is zero, rounding of this size is left.
ZERO_MOMENT = 1e-12
# Moments are made for so many degrees at first, then for twice as many.
_DEGREES = 64
# Gram matrices are made in slices of so many entries.
_SLICE = 10**6


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Code(Displayed):
    r"""K unit vectors $x_1,\dots,x_K$ in $\mathbb R^d$, with what theorems ask of them.

    Parameters
    ----------
    name
        In a table.
    vectors (K, d)
        Rows of length one to 1e-12.

    Raises
    ------
    ValueError
        Where `vectors` are not a matrix of at least two unit rows in d >= 2 dimensions.
    """

    name: str
    vectors: np.ndarray

    def __post_init__(self):
        require_instance("name", self.name, str, "words")
        require_finite("vectors", self.vectors, ndim=2)
        # (a copy that nobody edits, as it is checked once and what is made of it is kept)
        array = np.array(self.vectors, dtype=np.float64)
        array.flags.writeable = False
        wide = array.shape[0] >= 2 <= array.shape[1]
        require(wide, "`vectors` must have K >= 2 rows of d >= 2 numbers", array.shape)
        error = float(np.max(np.abs(np.linalg.norm(array, axis=1) - 1)))
        found = f"lengths that differ from 1 by {error:.1e}"
        require(error <= 1e-12, "`vectors` must have rows of length 1", found)
        object.__setattr__(self, "vectors", array)

    @property
    def num_vectors(self) -> int:
        """K."""
        return self.vectors.shape[0]

    @property
    def dim(self) -> int:
        """The dimension d."""
        return self.vectors.shape[1]

    @functools.cached_property
    def _pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """The different inner products, ascending, and how many ordered pairs have each."""
        K, products, counts = self.num_vectors, np.empty(0), np.empty(0, int)
        for rows in np.array_split(np.arange(K), max(1, K * K // _SLICE)):
            gram = self.vectors[rows] @ self.vectors.T
            gram[np.arange(len(rows)), rows] = np.nan
            found, often = np.unique(gram[~np.isnan(gram)], return_counts=True)
            products, counts = _merged(np.append(products, found), np.append(counts, often))
        return products, counts

    @property
    def inner_products(self) -> np.ndarray:
        r"""The m different values of $x_j\cdot x_k$ over $j\ne k$, ascending."""
        return self._pairs[0]

    @property
    def multiplicities(self) -> np.ndarray:
        r"""How many j have each inner product with one k: means over k, whole at sharp codes."""
        return self._pairs[1] / self.num_vectors

    @functools.cached_property
    def strength(self) -> int:
        r"""The largest $\tau$ for which the code is a spherical $\tau$-design.

        $\sum_{jk} C_l(x_j\cdot x_k) = 0$ for $l = 1, \dots, \tau$, to rounding, with the Gegenbauer
        polynomials $C_l$ of $S^{d-1}$. With m inner products it is at most 2m (Delsarte, Goethals &
        Seidel 1977, recalled).
        """
        most, degrees = 2 * len(self.inner_products), _DEGREES
        while True:
            degrees = min(degrees, most)
            nonzero = np.flatnonzero(self.moments(degrees) > ZERO_MOMENT)
            if nonzero.size or degrees == most:
                return int(nonzero[0]) if nonzero.size else most
            degrees *= 2

    def moments(self, degree: int) -> np.ndarray:
        r"""The means $\frac1{K^2}\sum_{jk} C_l(x_j\cdot x_k) \ge 0$ of $l = 1, \dots,$ `degree`.

        Raises `ValueError` for a degree that is no whole number, or below 0.
        """
        degree = require_whole("degree", degree, least=0)
        t = np.append(self.inner_products, 1.0)
        shares = np.append(self.multiplicities, 1.0) / self.num_vectors
        return gegenbauer(degree, self.dim, t)[1:] @ shares

    @property
    def sharp(self) -> bool:
        """Whether m inner products go with a strength of at least 2m − 1."""
        return self.strength >= 2 * len(self.inner_products) - 1

    def cross_entropy(self, beta) -> np.ndarray:
        r"""The loss at W = H: $\frac1K\sum_k\log\sum_j e^{\beta(x_j-x_k)\cdot x_k}$.

        `beta`: the inverse temperature, one number >= 0 or an array of them. Returns that shape.
        """
        require_nonnegative("beta", beta)
        beta = np.asarray(beta, dtype=np.float64)
        distance = 1 - self.vectors @ self.vectors.T
        others = ~np.eye(self.num_vectors, dtype=bool)

        def at(b):
            return np.mean(np.log1p(np.sum(np.exp(-b * distance), axis=1, where=others)))

        return np.reshape([at(b) for b in beta.ravel()], beta.shape)

    def __str__(self) -> str:
        kind = "sharp" if self.sharp else "not sharp"
        pairs = zip(self.inner_products, self.multiplicities, strict=True)
        products = ", ".join(f"{t:.6g} ({n:g} times)" for t, n in pairs)
        sizes = f"K={self.num_vectors}, d={self.dim}, strength {self.strength}, {kind}"
        return f"{self.name}: {sizes}; inner products {products}"


def gegenbauer(degree: int, dim: int, t: np.ndarray) -> np.ndarray:
    r"""$C_0(t),\dots,C_n(t)$ with $C_l(1) = 1$, orthogonal under $(1-t^2)^{(d-3)/2}$.

    For d = 2 they are the Chebyshev polynomials $\cos(l\arccos t)$.

    Parameters
    ----------
    degree
        n.
    dim
        d >= 2.
    t
        (T,), in [−1, 1].

    Returns
    -------
    np.ndarray
        (n + 1, T).
    """
    values = np.empty((degree + 1, len(t)))
    values[0], values[1:2] = 1.0, t
    for n in range(1, degree):
        values[n + 1] = ((2 * n + dim - 2) * t * values[n] - n * values[n - 1]) / (n + dim - 2)
    return values


def _merged(products: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Products that differ by rounding become one, their median, with the sum of their counts."""
    order = np.argsort(products)
    products, counts = products[order], counts[order]
    starts = np.flatnonzero(np.append(True, np.diff(products) > SAME_PRODUCT))
    medians = [np.median(part) for part in np.split(products, starts[1:])]
    # (of unit vectors: what is beyond is rounding)
    return np.clip(medians, -1, 1), np.add.reduceat(counts, starts)
