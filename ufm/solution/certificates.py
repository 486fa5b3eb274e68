"""Values with lower bounds on the global minimum."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ufm._classes.module import Module
from ufm._exact.decimals import printed
from ufm._validate import require_nonnegative
from ufm.tolerances import caveat


class AbstractCertificate(Module):
    """A value and a lower bound on the global minimum, and what may be said of the two."""

    value: eqx.AbstractVar[Float[Array, ""]]
    lower_bound: eqx.AbstractVar[Float[Array, ""]]
    gap: eqx.AbstractVar[Float[Array, ""]]
    rounding: eqx.AbstractVar[Float[Array, ""]]
    contradiction: eqx.AbstractVar[Float[Array, ""]]
    loss: eqx.AbstractVar[str]

    @property
    def valid(self) -> bool:
        """Whether nothing impossible was found.

        Neither a bound above the value nor a conjugate that contradicts its loss: either is a
        defect, never a proof.
        """
        above = float(self.lower_bound) - float(self.value) > float(self.rounding)
        return not above and not float(self.contradiction) > 1

    def closes(self, tolerance: float = 1e-9) -> bool:
        """Whether the point is globally optimal to this relative tolerance.

        False says nothing when d is below the rank of the optimum.
        """
        require_nonnegative("tolerance", tolerance, shape=())
        known = float(self.value) - float(self.lower_bound) + float(self.rounding)
        return (
            self.valid
            and float(self.gap) <= tolerance
            and known <= tolerance * abs(float(self.value))
        )

    def _sentence(self) -> str:
        """The value and the bound in words, or what is impossible about them."""
        if not self.valid:
            impossible = (
                "value and conjugate contradict each other"
                if float(self.contradiction) > 1
                else "a lower bound above the value"
            )
            return (
                f"INVALID: {impossible}, so the conjugate of {self.loss} is wrong or the loss is "
                f"not convex; nothing is certified\n"
                f"value {float(self.value):.12g}, claimed bound {float(self.lower_bound):.12g}"
            )
        value = printed(float(self.value), 12, up=True)
        lower = printed(float(self.lower_bound), 12, up=False)
        gap = printed(float(self.gap), 2, up=True, form="e")
        return (
            f"value {value} >= global minimum >= {lower}: relative gap {gap}"
            f"{caveat(self.value.dtype)}"
        )


def relative_gap(value: Float[Array, ""], lower_bound: Float[Array, ""]) -> Float[Array, ""]:
    """(value − bound) / |value|, not below 0; a value of 0 is met by a bound of 0 or by none.

    Runs inside `jit`.
    """
    difference = jnp.maximum(value - lower_bound, 0)
    return jnp.where(difference > 0, difference / jnp.abs(value), 0)


class Certificate(AbstractCertificate):
    r"""A lower bound on the global minimum from the convex lift, hence how far a point can be from
    it.

    `value`: the objective at the point (with a free bias re-solved at fixed W H), known to ±
    `rounding`. `lower_bound` $\le$ the global minimum, rounding subtracted. `gap`: (value −
    lower_bound) relative to the value, infinite where nothing is certified. `spectral_ratio`:
    $\|G\|_{op}/\mu$, with decay alone at most 1 at an optimum that no dimension more would lower;
    of domains it may be any where features are nonnegative or multipliers are rounding.
    `bias_residual`: $\|\sum_c\omega_c u_c\|$ of a free bias before it was removed, 0 without one.
    `contradiction`: by how much loss and conjugate miss equality in Fenchel–Young, in units of what
    rounding can explain: above 1 one of them is wrong. `lowering`: along how many directions, at
    least, one more dimension of the features than `dim` would lower the value, 0 where it is not
    known (nonnegative features, vanishing multipliers, `loose` domains). `full_rank`: a dimension
    that is enough for every optimum of the lift, None where none is known. `loose`: the domains,
    by name, that do not say that they are `tight`: with them the bound need not close at a minimum.
    `local_minima`: whether a descent may end at a minimum that is not global however large the
    dimension, as with nonnegative features beside a free classifier. `loss`: whose they are.
    """

    value: Float[Array, ""]
    lower_bound: Float[Array, ""]
    gap: Float[Array, ""]
    spectral_ratio: Float[Array, ""]
    bias_residual: Float[Array, ""]
    rounding: Float[Array, ""]
    contradiction: Float[Array, ""]
    lowering: Int[Array, ""]
    dim: int = eqx.field(static=True)
    full_rank: int | None = eqx.field(static=True)
    loose: tuple[str, ...] = eqx.field(static=True)
    local_minima: bool = eqx.field(static=True)
    loss: str = eqx.field(static=True)

    def __str__(self) -> str:
        residual = float(self.bias_residual)
        return (
            f"{self._sentence()}\nspectral ratio "
            f"{float(self.spectral_ratio):.12g}"
            f"{f', bias residual {residual:.1e}' if residual else ''}"
            f"{self._reason()}"
        )

    def _reason(self) -> str:
        """Why the gap is open, where a domain or a further dimension says so, or may be."""
        number = int(self.lowering)
        if not self.valid or self.closes() or not (number or self.local_minima or self.loose):
            return ""
        if self.loose:
            return (
                "\nopen, which says nothing of the point: multipliers of "
                f"{' and '.join(self.loose)} may be missing (the domain is not `tight`)"
            )
        if not number:
            return (
                "\nopen: with nonnegative features a descent may end at a local minimum; more "
                f"`starts`, or more dimensions than d={self.dim}, may find a lower value"
            )
        along = f"{number} direction{'s' if number > 1 else ''}"
        enough = self.full_rank is not None and self.dim >= self.full_rank
        means = (
            f"this is no minimum, as d={self.dim} is enough for every rank"
            if enough
            else f"if this is the minimum, d={self.dim} is below the rank of the lifted optimum"
        )
        return f"\nopen, as one more dimension lowers the value along {along}: {means}"
