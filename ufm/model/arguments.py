"""What the constructor of `Problem` takes: each argument checked, in the problem's dtype."""

from __future__ import annotations

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ufm._validate import (
    Shown,
    as_array,
    is_traced,
    require,
    require_dtype,
    require_finite,
    require_instance,
    require_nonnegative,
    require_positive,
    require_real,
    require_whole,
)
from ufm.domains import AbstractDomain
from ufm.domains.inspection import require_consistent
from ufm.labels import AbstractLabels
from ufm.losses import AbstractLoss
from ufm.losses.requirements import require_loss
from ufm.maps import AbstractMap, Activated


def require_sample_loss(labels: AbstractLabels, loss: AbstractLoss) -> None:
    """`ValueError` unless labels and a loss of their columns fit together."""
    require_instance("labels", labels, AbstractLabels, "ufm.Labels; see ufm.one_hot and ufm.soft")
    require_loss(loss, (labels.num_classes, labels.num_columns), labels.dtype)


def require_targets(labels: AbstractLabels, loss: AbstractLoss) -> None:
    """`ValueError` unless a loss takes the targets, and the offsets, of labels."""
    loss.check_targets(labels)
    words = "`labels.offsets` must be finite for this loss, which has to see every class"
    fits = not labels.drops or loss.canonical().drops_classes
    require(fits, words, f"-inf and {loss}")


def require_domains(**domains: AbstractDomain) -> None:
    """`ValueError` unless these are domains, by the names of their arguments."""
    for name, domain in domains.items():
        require_instance(name, domain, AbstractDomain, "a domain such as ufm.domains.Sphere(1.0)")


def checked_domain(
    name: str, domain: AbstractDomain, shape: tuple[int, int], masses: Array
) -> AbstractDomain:
    """The domain for the vectors of a factor.

    Parameters
    ----------
    name
        Of the factor, for messages.
    domain
        As it was given.
    shape, masses
        (n, C) of the vectors, and (C,).

    Returns
    -------
    AbstractDomain
        Fitted to them.

    Raises
    ------
    ValueError
        For parameters that do not fit, and methods that do not agree.
    """
    domain = domain.fitted(name, shape, masses)
    require_consistent(name, domain, shape, masses)
    return domain


def checked_map(map: AbstractMap, activation: str | None) -> AbstractMap:
    """The map that was given, or that of an activation."""
    require_instance("map", map, AbstractMap, 'a map such as ufm.maps.Activated("relu")')
    if activation is None:
        return map
    words = "`activation` must not be given together with `map`, which has its own"
    require(map.identity, words, map)
    return Activated(activation)


def checked_widths(widths, map: AbstractMap) -> tuple[int, ...]:
    """(d_1, …, d_M) as whole numbers, as many as the map needs."""
    several = isinstance(widths, tuple | list) and len(widths) >= 1
    require(several, "`widths` must be a tuple (d_1, …, d_M) with M >= 1", Shown(widths))
    enough = (
        f"`widths` must have M >= {map.least_depth} entries for {map}, which acts between factors "
        "(of one layer, features=ufm.domains.Nonnegative() keeps the features >= 0)"
    )
    require(len(widths) >= map.least_depth, enough, Shown(widths))
    return tuple(require_whole(f"widths[{i}]", d) for i, d in enumerate(widths))


def checked_decays(
    lambda_W, lambda_H, depth: int, dtype, *, held: tuple[bool, bool]
) -> tuple[Float[Array, " M"], Float[Array, ""]]:
    """Decay of every factor, and of the features.

    Parameters
    ----------
    lambda_W
        One number >= 0, or M of them, outermost first; may be traced. None is 0.
    lambda_H
        A number >= 0; may be traced. None is 0.
    depth, dtype
        M, and the problem's dtype.
    held
        Whether something else holds all weights, and the features; only then may λ be None.

    Returns
    -------
    tuple[Float[Array, " M"], Float[Array, ""]]
        In that dtype.

    Raises
    ------
    ValueError
        For numbers below 0 or not finite, another shape or dtype, and None where nothing else
        holds a factor.
    """
    words = "must be given (0 is no decay) where no domain holds"
    require(lambda_W is not None or held[0], f"`lambda_W` {words} every factor", lambda_W)
    require(lambda_H is not None or held[1], f"`lambda_H` {words} the features", lambda_H)
    lambda_W, lambda_H = (0.0 if given is None else given for given in (lambda_W, lambda_H))
    require_nonnegative("lambda_W", lambda_W)
    several = f"`lambda_W` must be a float or one float per factor (M = {depth})"
    require(require_real("lambda_W", lambda_W).shape in ((), (depth,)), several, Shown(lambda_W))
    require_dtype("lambda_W", lambda_W, dtype)
    require_nonnegative("lambda_H", lambda_H, shape=())
    require_dtype("lambda_H", lambda_H, dtype)
    of_factors = (
        jnp.broadcast_to(jnp.asarray(lambda_W, dtype), (depth,))
        if is_traced(lambda_W)
        else jnp.asarray(np.broadcast_to(np.asarray(lambda_W, dtype), (depth,)))
    )
    return of_factors, as_array(lambda_H, dtype)


def checked_bias(bias, dtype) -> tuple[str | None, Array | None]:
    """The kind of bias, None, "free" or "penalised", and its penalty."""
    kinds = int | float | np.generic | np.ndarray | jax.Array
    if not isinstance(bias, kinds) or isinstance(bias, bool):
        free = isinstance(bias, str) and bias == "free"
        require(free or bias is None, '`bias` must be None, "free" or a penalty > 0', Shown(bias))
        return "free" if free else None, None
    require_positive("bias", bias, ' as a penalty (an unpenalised bias is "free")', shape=())
    require_dtype("bias", bias, dtype)
    return "penalised", as_array(bias, dtype)


def checked_anchor(
    anchor, beta, shape: tuple[int, int], dtype
) -> tuple[Array | None, Array | None]:
    """What pulls the features, and how much.

    Parameters
    ----------
    anchor, beta
        As for `Problem`: both, or None both.
    shape, dtype
        (d_1, C) of the features, and the problem's dtype.

    Returns
    -------
    tuple[Array | None, Array | None]
        In that dtype.

    Raises
    ------
    ValueError
        For one without the other, a pull that is not positive, another shape or dtype.
    """
    require(
        (anchor is None) == (beta is None),
        "`anchor` and `beta` must be given together",
        f"only {'`anchor`' if beta is None else '`beta`'}",
    )
    if anchor is None:
        return None, None
    assert beta is not None
    require_positive("beta", beta, shape=())
    require_dtype("beta", beta, dtype)
    return checked_array("anchor", anchor, shape, dtype), as_array(beta, dtype)


def checked_factors(
    weights, shapes: tuple[tuple[int, int], ...], classifier: AbstractDomain, dtype
) -> tuple[Array, ...] | None:
    """Values at which all factors are frozen, or None.

    Parameters
    ----------
    weights
        (W_M, …, W_1), or None.
    shapes
        Of the factors, in this order.
    classifier
        The domain of the last factor: none may be left where it is frozen.
    dtype
        The problem's.

    Returns
    -------
    tuple[Array, ...] | None
        In that dtype.

    Raises
    ------
    ValueError
        For a domain of what is frozen, and factors that do not fit.
    """
    require(
        not classifier.constrained or weights is None,
        "`classifier` must not be given together with `fixed_weights`, which leave it no freedom",
        classifier,
    )
    if weights is None:
        return None
    require_factors("fixed_weights", weights, len(shapes))
    return tuple(
        checked_array(f"fixed_weights[{i}]", W, shape, dtype)
        for i, (W, shape) in enumerate(zip(weights, shapes, strict=True))
    )


def require_factors(name: str, weights, depth: int) -> None:
    """A tuple or list of M factors.

    Parameters
    ----------
    name
        For the message.
    weights
        What the user gave.
    depth
        M.

    Raises
    ------
    ValueError
        For another kind or number.
    """
    several = isinstance(weights, tuple | list)
    wanted = f"`{name}` must hold the M = {depth} factors (W_M, …, W_1)"
    require(several, wanted, Shown(weights))
    require(len(weights) == depth, wanted, len(weights))


def checked_array(name: str, value, shape: tuple[int, ...], dtype) -> Array:
    """A finite array of this shape, in the problem's dtype.

    Parameters
    ----------
    name
        For the message.
    value
        What the user gave.
    shape, dtype
        Which it must have.

    Returns
    -------
    Array
        Itself where it is one already.

    Raises
    ------
    ValueError
        For another shape or dtype, and for numbers that are not finite.
    """
    made = isinstance(value, jax.Array) and value.dtype == dtype and not value.weak_type
    # what every solve gives, in half the time of what words the others
    known = made and not isinstance(value, jax.core.Tracer) and value.shape == shape
    if not (known and np.isfinite(np.asarray(value)).all()):
        require_finite(name, value, shape=shape)
        require_dtype(name, value, dtype)
    return value if made else as_array(value, dtype)
