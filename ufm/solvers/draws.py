"""Random draws of which starts are made: a matrix a factor, without a scale, on the host or not."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key, PRNGKeyArray

from ufm._host import random
from ufm.batch.layout import one_by_one
from ufm.model import Problem

# From this ratio of sides on, the singular values of a Gaussian matrix lie within a third of each
# other.
_NEARLY_ORTHONORMAL = 8
# Starts that are drawn there, each in 0.2 ms.
_MOST_ON_HOST = 1000
# Scales of all starts but the first, as powers of two: larger ones overshoot into the origin of a
# deep product, smaller ones lose the classes that need a large start.
_EXPONENTS = (-1.5, 0.5)


class Drawn(NamedTuple):
    """What is random in a start: a matrix a factor, features last, and by what the size of the
    problem is multiplied."""

    matrices: tuple[Any, ...]
    multiple: Any


def drawn(problem: Problem, key: PRNGKeyArray, *, orthonormal: bool = True) -> Drawn:
    """One draw: of Gaussian matrices, or of orthonormal ones.

    Parameters
    ----------
    problem
        Gives shapes and dtype.
    key
        A `jax.random.key`.
    orthonormal
        Whether the matrices have orthonormal rows or columns.

    Returns
    -------
    Drawn
        Matrices without a scale yet.

    Notes
    -----
    On the host where the key can be read there: compiling random numbers and a QR decomposition
    takes longer than a small solve. Runs inside `jit`, where the numbers are the same to rounding.
    """
    shapes, host = _shapes(problem), _host_key(problem, key)
    if host is None:
        return _drawn(shapes, key, problem.dtype, orthonormal)
    matrices = _drawn_on_host(shapes, host, problem.dtype, orthonormal)
    return Drawn(matrices, np.ones((), problem.dtype))


@functools.partial(jax.jit, static_argnums=(0, 2, 3))
def _drawn(shapes, key: PRNGKeyArray, dtype, orthonormal: bool) -> Drawn:
    # one key per factor: a shared key would start W and H with equal entries
    keys = jax.random.split(key, len(shapes))
    normals = tuple(
        jax.random.normal(k, shape, dtype) for k, shape in zip(keys, shapes, strict=True)
    )
    if orthonormal:
        normals = tuple(_orthonormal(normal, _orthonormal_columns) for normal in normals)
    return Drawn(normals, jnp.ones((), dtype))


def drawn_each(problem: Problem, keys: Key[Array, " B"]) -> Drawn:
    """`drawn` of each key (B,), with a leading axis B."""
    shapes, dtype = _shapes(problem), problem.dtype
    held = random.host_keys(keys) if _few(shapes, len(keys)) else None
    if held is None:
        return _drawn_each(shapes, keys, dtype)
    matrices = _stacked([_drawn_on_host(shapes, key, dtype, True) for key in held])
    return Drawn(matrices, np.ones(len(held), dtype))


@functools.partial(jax.jit, static_argnums=(0, 2))
def _drawn_each(shapes, keys: Key[Array, " B"], dtype) -> Drawn:
    return jax.vmap(lambda key: _drawn(shapes, key, dtype, True))(keys)


def _few(shapes, starts: int = 1) -> bool:
    """Whether the host draws so many starts of these shapes."""
    numbers = starts * sum(rows * columns for rows, columns in shapes)
    return starts <= _MOST_ON_HOST and numbers <= random.LARGEST_ON_HOST


def _stacked(draws) -> tuple[np.ndarray, ...]:
    """The matrices of several starts, each with a leading axis."""
    return tuple(np.stack(matrices) for matrices in zip(*draws, strict=True))


def _shapes(problem: Problem) -> tuple[tuple[int, int], ...]:
    return (*problem.weight_shapes, (problem.feature_dim, problem.labels.num_columns))


def _host_key(problem: Problem, key: PRNGKeyArray) -> random.Key | None:
    """The key for small problems, None for large ones and where it is traced."""
    return random.host_key(key) if _few(_shapes(problem)) else None


def _drawn_on_host(shapes, key: random.Key, dtype, orthonormal: bool):
    normals = random.normals(random.split(key, len(shapes)), shapes, dtype)
    if orthonormal:
        normals = [_orthonormal(normal, lambda tall: np.linalg.qr(tall)[0]) for normal in normals]
    return tuple(normals)


def _orthonormal(normal, orthonormal_columns: Callable):
    """A Gaussian matrix made orthonormal on its shorter side.

    One much longer than wide is so nearly already and only scaled.
    """
    rows, columns = normal.shape
    if max(rows, columns) >= _NEARLY_ORTHONORMAL * min(rows, columns):
        return normal / math.sqrt(max(rows, columns))
    return orthonormal_columns(normal) if rows >= columns else orthonormal_columns(normal.T).T


_orthonormal_columns = one_by_one(lambda tall: jnp.linalg.qr(tall)[0])


def random_draws(problem: Problem, key: PRNGKeyArray, number: int) -> Drawn:
    """`number` draws, stacked.

    The first at the problem's scale, the others at 0.35 to 1.4 times it.

    Parameters
    ----------
    problem
        Gives shapes and dtype.
    key
        A `jax.random.key`, split among the draws.
    number
        How many.

    Returns
    -------
    Drawn
        With a leading axis. Made on the host, or inside `jit`, as by `drawn`.
    """
    shapes, host = _shapes(problem), _host_key(problem, key)
    if host is None:
        return _draws(shapes, key, problem.dtype, number)
    return _draws_on_host(shapes, host, problem.dtype, number)


def draws_of_seeds(problem: Problem, key: PRNGKeyArray, seeds: np.ndarray) -> Drawn | None:
    """The first draw of `random_draws` for each `fold_in(key, seed)`, made on the host.

    Parameters
    ----------
    problem
        Gives shapes and dtype.
    key
        A `jax.random.key`.
    seeds
        (S,) whole numbers below 2**32.

    Returns
    -------
    Drawn or None
        With a leading axis S. None where the numbers are too many, or the key cannot be read.
    """
    shapes = _shapes(problem)
    host = random.host_key(key) if _few(shapes, len(seeds)) else None
    if host is None:
        return None
    keys = [random.fold_in(host, seed) for seed in seeds.tolist()]
    draws = [_draws_on_host(shapes, k, problem.dtype, 1) for k in keys]
    return jax.tree.map(lambda *parts: np.concatenate(parts), *draws)


# Many problems are solved from the same start, as where λ is swept.
@functools.lru_cache(maxsize=16)
def _draws_on_host(shapes, key: random.Key, dtype, number: int) -> Drawn:
    key_scale, key_start = random.split(key, 2)
    draws = [_drawn_on_host(shapes, k, dtype, True) for k in random.split(key_start, number)]
    if number == 1:
        return Drawn(_stacked(draws), np.ones(1, dtype))
    exponents = random.uniform(key_scale, (number,), dtype, *_EXPONENTS)
    exponents[0] = 0
    return Drawn(_stacked(draws), np.exp2(exponents))


@functools.partial(jax.jit, static_argnums=(0, 2, 3))
def _draws(shapes, key: PRNGKeyArray, dtype, number: int) -> Drawn:
    key_scale, key_start = jax.random.split(key)
    exponents = jax.random.uniform(key_scale, (number,), dtype, *_EXPONENTS).at[0].set(0.0)
    keys = jax.random.split(key_start, number)
    draws = jax.vmap(lambda k: _drawn(shapes, k, dtype, True))(keys)
    return draws._replace(multiple=2.0**exponents)
