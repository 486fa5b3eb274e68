r"""The same bound where logits are the Gram of embeddings, $Z = X^\top X/\tau$: contrastive losses.

With $V = [\omega_cu_c]_c$ and multipliers $b_c$ of the columns of X, every point of every dimension
has

$$f\ \ge\ -\sum_c\omega_c\,\ell^*(u_c;q_c) - c(b) + \min_X\tfrac12\big\langle D_b +
\tfrac1\tau(V+V^\top),\ X^\top X\big\rangle,$$

whose minimum is 0 as soon as that matrix is positive semidefinite. Grams of nonnegative embeddings
have no negative entries, so that positive entries of it off the diagonal may be dropped first.
Domains say which multipliers they allow and what these cost, as for other maps
(`ufm/certificates/lift.py`). Derived.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from ufm.certificates import lift
from ufm.certificates.lift import Lifted
from ufm.certificates.lowering import clearly
from ufm.certificates.multipliers import Multipliers, decay_of_columns
from ufm.certificates.pull import decay_of_weights
from ufm.domains import AbstractDomain, Nonnegative, Sphere
from ufm.domains.base import lengths_sq
from ufm.losses.rounding import unit_roundoff
from ufm.maps import AbstractGram
from ufm.model import Params, Problem, terms_of_sum


class Held(NamedTuple):
    """Where embeddings lie, what decay holds each, and whether they are nonnegative."""

    domain: AbstractDomain
    decay: Float[Array, " C"]
    nonnegative: bool

    @classmethod
    def of(cls, problem: Problem) -> Held:
        """Those of a problem: the features', or unit vectors where the map forgets lengths."""
        decay = decay_of_columns(problem)
        gram = problem.map.gram
        if gram is not None and gram.forgets_lengths:
            return cls(Sphere(jnp.ones((), problem.dtype)), jnp.zeros_like(decay), True)
        return cls(problem.features, decay, problem.features.nonnegative)

    def counted(self, matrix: Float[Array, "C C"]) -> Float[Array, "C C"]:
        """Of what is subtracted from D_b the part that counts."""
        return Nonnegative().gram(matrix) if self.nonnegative else matrix


def lifted(
    problem: Problem, params: Params, dual: Float[Array, "K C"], hidden: Float[Array, "K C"]
) -> Lifted:
    """`lift.lifted` of every map. Runs inside `jit`.

    Parameters
    ----------
    problem, params
        Where the gradients were taken.
    dual
        (K, C), the gradients of the loss of every column.
    hidden
        (K, C), by how much entries of the dual point are moved to where it is feasible.

    Returns
    -------
    Lifted
        The share of the gradients that is the dual point, and what it gives.
    """
    gram = problem.map.gram
    if gram is None:
        return lift.lifted(problem, params, dual, hidden)
    held, X, R = Held.of(problem), gram.embeddings(params.features), _coupling(problem, gram, dual)
    wanted = jnp.sum(X * (X @ R), axis=0) / jnp.where(lengths_sq(X) > 0, lengths_sq(X), 1)
    R, unit = held.counted(R), unit_roundoff(problem.dtype)
    b = held.domain.curvature(wanted, held.decay)
    sizes, values = _coupling(problem, gram, jnp.abs(dual)), jnp.linalg.eigvalsh(jnp.diag(b) - R)
    least, many = values[0], 8 * terms_of_sum(len(R)) + len(R) + 32
    off = unit * many * (_length(sizes) + jnp.max(jnp.abs(b)))
    off = off + 2 * _length(_coupling(problem, gram, hidden))
    # what is short of semidefinite is made up for: by multipliers, or by less of the gradient
    share = jnp.ones((), problem.dtype)
    if held.domain.movable:
        b = held.domain.curvature(b + jnp.maximum(off - least, 0), held.decay)
    else:
        smallest, root = jnp.min(b), jnp.sqrt(b)
        top = jnp.linalg.eigvalsh(R / root[:, None] / root[None, :])[-1]
        reached = top * (1 + unit * many) + off / smallest
        share = jnp.where(reached > 1, (1 - 8 * unit) / reached, 1)
    rest, slack = -held.domain.allowance(b, held.decay), _rounding(problem, held, b)
    # of weights that are not used
    rest = rest + decay_of_weights(problem, params)
    largest = jnp.max(jnp.abs(b))
    ratio = 1 + jnp.maximum(-least, 0) / largest
    # (a further dimension of nonnegative embeddings is nonnegative)
    lowering = 0 if held.nonnegative else jnp.sum(values < -clearly(values.dtype) * largest)
    multipliers = Multipliers(jnp.zeros(len(R), problem.dtype), b)
    dropped, left = jnp.asarray(held.nonnegative), jnp.ones_like(share)
    return Lifted(share, ratio, jnp.asarray(lowering), rest, slack, multipliers, left, dropped)


def _coupling(
    problem: Problem, gram: AbstractGram, dual: Float[Array, "K C"]
) -> Float[Array, "C C"]:
    r"""$-\tfrac1\tau(V+V^\top)$; of sizes, that of their negative."""
    V = dual * problem.labels.column_weights[None, :]
    return -(V + V.T) / gram.temperature


def _rounding(problem: Problem, held: Held, b: Float[Array, " C"]) -> Float[Array, ""]:
    """What the rounding of the cost can amount to, multiplier and decay apart."""
    size = held.domain.allowance(b + held.decay, -held.decay)
    return unit_roundoff(problem.dtype) * (terms_of_sum(len(b)) + 8) * jnp.abs(size)


def _length(matrix: Float[Array, "C C"]) -> Float[Array, ""]:
    return jnp.sqrt(jnp.sum(matrix**2))
