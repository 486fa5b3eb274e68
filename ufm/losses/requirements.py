"""What a loss must have before it is used, and what it must give."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np

from ufm._validate import require, require_instance
from ufm.losses.base import AbstractLoss


def require_bound(loss: AbstractLoss, *, free_bias: bool) -> None:
    """`ValueError` naming what a loss lacks for a certificate, which `best_bias` is for a free bias
    only."""
    require(loss.convex, "`problem.loss` must be convex in the logits for a certificate", loss)
    for method in ("conjugate", "best_bias")[: 1 + free_bias]:
        part = loss.lacking(method)
        require(part is None, f"`problem.loss` must define `{method}` for a certificate", part)


def require_loss(loss: AbstractLoss, shape: tuple[int, ...], dtype) -> None:
    """`ValueError` unless `loss` gives one number for each column of logits.

    Parameters
    ----------
    loss
        What is asked.
    shape
        (K, C), of the logits.
    dtype
        Of the logits.

    Raises
    ------
    ValueError
        For what is no loss, and for an answer of another shape.
    """
    require_instance("loss", loss, AbstractLoss, "a loss instance such as ufm.MeanSquaredError()")
    leaves, structure = jax.tree.flatten(loss)
    forms = tuple((np.shape(leaf), jnp.result_type(leaf)) for leaf in leaves)
    answer = _answer_of(structure, forms, shape, np.dtype(dtype))
    wanted = f"`loss` must give one number for each column, shape {shape[1:]}, of logits {shape}"
    require(answer == shape[1:], wanted, answer)


@functools.lru_cache(maxsize=256)
def _answer_of(structure, forms, shape: tuple[int, ...], dtype: np.dtype):
    """The shape of what a loss gives, without any numbers.

    Remembered, because it is asked of every problem.
    """
    leaves = [jax.ShapeDtypeStruct(*form) for form in forms]
    logits = jax.ShapeDtypeStruct(shape, dtype)
    try:
        answer = jax.eval_shape(
            lambda leaves, z, q: jax.tree.unflatten(structure, leaves)(z, q), leaves, logits, logits
        )
    except Exception as error:
        wanted = f"`loss` must take logits and targets of shape {shape}"
        raise ValueError(f"{wanted}; got {type(error).__name__}: {error}") from error
    return getattr(answer, "shape", type(answer).__name__)
