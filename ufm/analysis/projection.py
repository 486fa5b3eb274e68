r"""The coordinates in which mixed points are looked at.

The plane of three classes, and width and depth of a channel between two.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from numpy.typing import NDArray

from ufm._classes.module import Module
from ufm._numerics import spectral, unit
from ufm._validate import (
    as_floats,
    at_one_width,
    require,
    require_finite,
    require_instance,
    require_positive,
    require_real,
)
from ufm.labels import AbstractLabels
from ufm.labels.mixed_pairs import MixedPairs, mixed_pairs

# A (I − J/3): an isometry from the vectors of R³ that sum to zero, e_1 to the lower right, e_2 to
# the lower left, e_3 up
_TRIANGLE = np.sqrt(2) * np.array(
    [[0.5, -0.5, 0.0], [-np.sqrt(3) / 6, -np.sqrt(3) / 6, np.sqrt(3) / 3]]
)


class Projection(Module):
    """An affine map onto a plane: x ↦ `matrix` (x − `origin`).

    `matrix` (2, d), `origin` (d,). `rank`: dimensions in which the three classifiers differ, 2
    unless they are degenerate.
    """

    matrix: Float[Array, "2 d"]
    origin: Float[Array, " d"]
    rank: Int[Array, ""]

    def __call__(
        self, columns: Float[Array, "d C"] | Float[np.ndarray, "d C"]
    ) -> Float[Array, "2 C"]:
        """Where the columns fall: features as they are, classifiers as `classifier.T`."""
        x = as_floats("columns", columns, ndim=2, empty=True)
        d = len(self.origin)
        require(x.shape[0] == d, f"`columns` must have d = {d} rows", x.shape)
        x, matrix, origin = at_one_width(x, self.matrix, self.origin)
        return matrix @ (x - origin[:, None])


def three_class_projection(
    classifier: Float[Array, "K d"] | Float[np.ndarray, "K d"], *, classes=(0, 1, 2), tolerance=1e-5
) -> Projection:
    r"""The projection onto the plane of three classifiers.

    Turned so that an ETF becomes an upright equilateral triangle: with $\mu_g$ the mean of the
    three rows and $W_3 - \mathbf 1\mu_g^\top = U S V^\top$, a point goes to $x = A\,U V^\top (h -
    \mu_g)$,

    $$A = \sqrt 2\begin{pmatrix}1/2 & -1/2 & 0\\ 0 & 0 & \sqrt3/2\end{pmatrix}\big(I_3 -
    \tfrac13\mathbf 1\mathbf 1^\top\big),\qquad A A^\top = I_2.$$

    Parameters
    ----------
    classifier
        (K, d), K >= 3.
    classes
        Three different classes, which go to the lower right, the lower left and the top.
    tolerance
        Singular values up to this part of the largest count as zero.

    Returns
    -------
    Projection
        An orthogonal one (no stretching), to be called on features (d, C). Runs inside `jit`.

    Raises
    ------
    ValueError
        For K < 3, classes that are not three different ones of the K, and a tolerance that is not
        positive.

    Notes
    -----
    Source: the projection of Fisher, Meng & Papyan 2024. It subtracts the mean of the three
    *classifiers*, not of the features, which shows unless that mean is orthogonal to the plane, as
    it is for a global ETF. Three classifiers on one line span no plane: everything falls on a line
    then (`rank` 1), and on the origin where they coincide (`rank` 0).
    """
    W = as_floats("classifier", classifier, ndim=2)
    K = W.shape[0]
    require(K >= 3, "`classifier` must have K >= 3 rows, one per class", K)
    chosen = np.asarray(require_real("classes", classes))
    whole = chosen.shape == (3,) and np.issubdtype(chosen.dtype, np.integer)
    good = whole and len(set(chosen.tolist())) == 3 and chosen.min() >= 0 and chosen.max() < K
    require(good, f"`classes` must be three different classes of 0 … {K - 1}", classes)
    require_positive("tolerance", tolerance, shape=())
    three = W[chosen] / unit(W)
    origin = jnp.mean(three, axis=0)
    polar, S = spectral(three - origin[None, :], tolerance, 0)
    return Projection(
        matrix=jnp.asarray(_TRIANGLE, W.dtype) @ polar,
        origin=origin * unit(W),
        rank=jnp.sum(tolerance * S[0] < S),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Channels:
    r"""Where each mixed point sits between its two classes i < j, with target $\lambda e_i +
    (1-\lambda) e_j$.

    `pairs`: the two classes and λ of each column. `width` (C,): $u_i - u_j$, across the decision
    boundary. `depth` (C,): $u_i + u_j$, away from the other classes. `spread` (C,): the largest
    distance of another logit from their mean; 0 at the optimum of mixup, and only then is the depth
    a property of the pair. For a point of one class, where $u_j = 0$, width and depth are its logit
    gap.
    """

    pairs: MixedPairs
    width: NDArray[np.float64]
    depth: NDArray[np.float64]
    spread: NDArray[np.float64]


def channel_coordinates(
    logits: Float[Array, "K C"] | Float[np.ndarray, "K C"], labels: AbstractLabels
) -> Channels:
    r"""Width and depth of the channels that mixed points trace between two classes.

    $u_k = z_k - z_0$, $z_0$ the mean of the other logits.

    `logits` (K, C), bias included. `labels`: `Labels` with targets that mix at most two classes, as
    `ufm.mixup` makes them. Returns `Channels`, in NumPy. A mixture of two classes has no other
    class for K = 2: depth and spread are NaN there.

    Raises `ValueError` for shapes that disagree, and as `mixed_pairs` does.

    Source: Fisher, Meng & Papyan 2024, the optimal features of different-class mixtures, in logits.
    """
    require_finite("logits", logits, ndim=2)
    Z = np.asarray(logits, dtype=np.float64)
    require_instance("labels", labels, AbstractLabels, "ufm.Labels")
    targets = np.asarray(labels.targets)
    require(
        Z.shape == targets.shape,
        f"`logits` must have the shape of `labels.targets`, {targets.shape}",
        Z.shape,
    )
    pairs = mixed_pairs(labels)
    at = np.arange(Z.shape[1])
    others = targets == 0
    number = others.sum(axis=0)
    z_0 = np.where(number > 0, np.sum(Z, axis=0, where=others) / np.maximum(number, 1), np.nan)
    spread = np.max(np.abs(Z - z_0[None, :]), axis=0, where=others, initial=0.0)
    z_first, z_second = Z[pairs.first, at], np.where(pairs.same, z_0, Z[pairs.second, at])
    return Channels(
        pairs=pairs,
        width=z_first - z_second,
        depth=(z_first - z_0) + (z_second - z_0),
        spread=np.where(number > 0, spread, np.nan),
    )
