"""Targets that mix two classes, held as three numbers a column: mixup."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ufm._validate import require, require_array, require_each, require_whole
from ufm.labels.base import require_columns
from ufm.labels.sparse import AbstractSparseLabels


class PairLabels(AbstractSparseLabels):
    r"""Targets $q_c = \lambda_c e_{i_c} + (1-\lambda_c)\,e_{j_c}$ and masses $m_c > 0$.

    `ufm.labels.mixup` and `ufm.labels.sampled_mixup` make them where a matrix would be large.

    `first`, `second` (C,): the classes i and j, equal for a pure class. `share` (C,): λ in [0, 1].
    `masses` (C,). `num_classes`: K. `weights`, `at_once`: as for `SparseLabels`.

    Raises `ValueError` for K < 2, no column, shapes or dtypes that disagree, classes outside 0 … K
    − 1, shares outside [0, 1], masses or weights that are not positive.
    """

    first: Int[Array, " C"]
    second: Int[Array, " C"]
    share: Float[Array, " C"]
    masses: Float[Array, " C"]  # pyright: ignore[reportIncompatibleMethodOverride]
    num_classes: int = eqx.field(static=True)  # pyright: ignore[reportIncompatibleMethodOverride]
    weights: Float[Array, " C"] | None = None  # pyright: ignore[reportIncompatibleMethodOverride]
    at_once: int | None = eqx.field(  # pyright: ignore[reportIncompatibleMethodOverride]
        static=True, default=None
    )

    def __check_init__(self):
        K = require_whole("num_classes", self.num_classes, least=2)
        if self.at_once is not None:
            require_whole("at_once", self.at_once)
        require_array("share", self.share)
        given = self.share.shape
        require(len(given) == 1 and given[0] > 0, "`share` must have shape (C,), not empty", given)
        for name in ("first", "second"):
            classes = getattr(self, name)
            require_array(name, classes, kind=jnp.integer)
            words = f"`{name}` must have the shape of `share`, {given}"
            require(classes.shape == given, words, classes.shape)
            require_each(name, classes, lambda k: (k >= 0) & (k < K), f"lie in 0 … {K - 1}")
        require_each(
            "share", self.share, lambda share: (share >= 0) & (share <= 1), "lie in [0, 1]"
        )
        require_columns(self, "share", self.share.dtype)

    @property
    def index(self) -> Int[Array, "2 C"]:
        """The two classes."""
        return jnp.stack([self.first, self.second])

    @property
    def entries(self) -> Float[Array, "2 C"]:
        """Their shares."""
        return jnp.stack([self.share, 1 - self.share])

    @property
    def background(self) -> Float[Array, " C"]:
        """None."""
        return jnp.zeros_like(self.share)
