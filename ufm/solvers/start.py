"""Random starts. They know the sizes of λ and targets, and nothing of any optimum."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ufm import _random
from ufm._outside import on_the_host
from ufm._validate import require_instance, require_key, require_positive
from ufm.batch.layout import one_by_one
from ufm.model import Params, Problem, require_decay
from ufm.solvers.coordinates import Flat, to_flat
from ufm.solvers.one_layer import is_plain

# From this ratio of sides on, the singular values of a Gaussian matrix lie within a third of each
# other.
_NEARLY_ORTHONORMAL = 8
# One layer has no local minima to avoid, and a small start has less to unlearn: a third fewer
# Hessian-vector products.
_ONE_LAYER = 0.3
# Numbers that are drawn on the host, in 40 ms. More take longer to solve for than to compile.
_LARGEST_ON_HOST = 200_000
# Starts that are drawn there, each in 0.2 ms.
_MOST_ON_HOST = 1000
# Scales of all starts but the first, as powers of two: larger ones overshoot into the origin of a
# deep product, smaller ones lose the classes that need a large start.
_EXPONENTS = (-1.5, 0.5)


@on_the_host("draw the start outside")
def random_start(problem: Problem, *, key: PRNGKeyArray, std: float | None = None) -> Params:
    r"""A random point: factors and features at random, zero bias, frozen factors as they are.

    Parameters
    ----------
    problem
        Gives shapes, decays and domains.
    key
        A `jax.random.key`.
    std
        The standard deviation of independent Gaussian entries, as the papers' scripts have it (0.1,
        say). Without it, each factor is a random matrix with orthonormal rows or columns, times
        $\sqrt{\Lambda/\lambda_m}\,s^{1/(M+1)}$ with $\Lambda$ the geometric mean of all λ and s the
        root mean square singular value of the mass-weighted targets (0.3 of that for M = 1).

    Returns
    -------
    Params
        Where a factor has a domain, each of its vectors is moved there (`AbstractDomain.start`):
        nonnegative features are the absolute values, those on a sphere have its radius.

    Raises
    ------
    ValueError
        For `std` <= 0, and without `std` for λ = 0.

    Notes
    -----
    For M >= 2 the origin is a local minimum that attracts small starts, and the small singular
    values of a product of Gaussian matrices are small starts too: of 12 starts on ten balanced
    classes all reach the global optimum with orthonormal factors at M = 2, 3, 4, 6, half of them
    with Gaussian ones of mixed scales.
    """
    require_instance("problem", problem, Problem)
    require_key("key", key)
    if std is None:
        require_decay(problem, "a start scaled to the problem; pass `std`")
    else:
        require_positive("std", std, shape=())
    start = drawn(problem, key, orthonormal=std is None)
    return _placed(problem, start, None if std is None else jnp.asarray(std, problem.dtype))


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


def each_start(problem: Problem, stacked: Problem, keys: PRNGKeyArray) -> Params:
    """`random_start` of many problems of one shape.

    (To rounding; keys of the kind "rbg" draw other numbers together than alone.)

    Parameters
    ----------
    problem
        One of them.
    stacked
        All, with a leading axis B.
    keys
        (B,).

    Returns
    -------
    Params
        With a leading axis B.
    """
    shapes, dtype = _shapes(problem), problem.dtype
    held = _random.host_keys(keys) if _few(shapes, len(keys)) else None
    if held is None:
        draws = _drawn_each(shapes, keys, dtype)
    else:
        matrices = _stacked([_drawn_on_host(shapes, key, dtype, True) for key in held])
        draws = Drawn(matrices, np.ones(len(held), dtype))
    return _placed_each(stacked, draws)


@functools.partial(jax.jit, static_argnums=(0, 2))
def _drawn_each(shapes, keys: PRNGKeyArray, dtype) -> Drawn:
    return jax.vmap(lambda key: _drawn(shapes, key, dtype, True))(keys)


def _few(shapes, starts: int = 1) -> bool:
    """Whether the host draws so many starts of these shapes."""
    numbers = starts * sum(rows * columns for rows, columns in shapes)
    return starts <= _MOST_ON_HOST and numbers <= _LARGEST_ON_HOST


def _stacked(draws) -> tuple[np.ndarray, ...]:
    """The matrices of several starts, each with a leading axis."""
    return tuple(np.stack(matrices) for matrices in zip(*draws, strict=True))


def _shapes(problem: Problem) -> tuple[tuple[int, int], ...]:
    return (*problem.weight_shapes, (problem.feature_dim, problem.labels.num_columns))


def _host_key(problem: Problem, key: PRNGKeyArray) -> _random.Key | None:
    """The key for small problems, None for large ones and where it is traced."""
    return _random.host_key(key) if _few(_shapes(problem)) else None


def _drawn_on_host(shapes, key: _random.Key, dtype, orthonormal: bool):
    normals = _random.normals(_random.split(key, len(shapes)), shapes, dtype)
    if orthonormal:
        normals = [_orthonormal(normal, lambda tall: np.linalg.qr(tall)[0]) for normal in normals]
    return tuple(normals)


def placed(problem: Problem, start: Drawn, std: Float[Array, ""] | None = None) -> Params:
    """What was drawn as a point of the problem, at its scale or at that of `std`.

    Runs inside `jit`.

    Parameters
    ----------
    problem
        Gives decays, masses, domains and frozen factors.
    start
        From `drawn`, or one of `random_draws`.
    std
        Multiplies Gaussian matrices; None scales orthonormal ones to the problem.

    Returns
    -------
    Params
        With zero bias, in its domains.
    """
    labels, multiple = problem.labels, start.multiple
    if std is not None:
        factors = [std * normal for normal in start.matrices]
    else:
        size = _size(problem, multiple)
        scale = jnp.sqrt(problem.decays)
        factors = [matrix * (size / s) for matrix, s in zip(start.matrices, scale, strict=True)]
        # equal singular values for the mass-weighted features, which is what the balance of a
        # stationary point is about
        factors[-1] = factors[-1] / jnp.sqrt(labels.masses)[None, :]
    free = problem.free_part(Params(tuple(factors[:-1]), factors[-1], problem.zero_bias))
    return problem.filled(problem.blocks.apply(lambda block, value: block.start(value), free))


_placed = jax.jit(placed)
_placed_each = jax.jit(jax.vmap(placed))


def _size(problem: Problem, multiple: Float[Array, ""]) -> Float[Array, ""]:
    """The singular values of a start, in units of the root of its decay."""
    Lambda, typical = problem.sizes
    multiple = multiple * (_ONE_LAYER if problem.depth == 1 else 1)
    return multiple * jnp.sqrt(Lambda) * typical ** (1 / (problem.depth + 1))


def flat_start(problem: Problem, start: Drawn) -> Flat:
    """What was drawn, in the coordinates of the solvers.

    In those of a plain problem the factors are what was drawn, times one number. Runs inside `jit`.
    """
    if not is_plain(problem):
        return to_flat(problem, placed(problem, start))
    factors = [_size(problem, start.multiple) * matrix.ravel() for matrix in start.matrices]
    bias = problem.zero_bias
    return jnp.concatenate(factors if bias is None else [*factors, bias])


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
    host = _random.host_key(key) if _few(shapes, len(seeds)) else None
    if host is None:
        return None
    keys = [_random.fold_in(host, seed) for seed in seeds.tolist()]
    draws = [_draws_on_host(shapes, k, problem.dtype, 1) for k in keys]
    return jax.tree.map(lambda *parts: np.concatenate(parts), *draws)


# Many problems are solved from the same start, as where λ is swept.
@functools.lru_cache(maxsize=16)
def _draws_on_host(shapes, key: _random.Key, dtype, number: int) -> Drawn:
    key_scale, key_start = _random.split(key, 2)
    draws = [_drawn_on_host(shapes, k, dtype, True) for k in _random.split(key_start, number)]
    if number == 1:
        return Drawn(_stacked(draws), np.ones(1, dtype))
    exponents = _random.uniform(key_scale, (number,), dtype, *_EXPONENTS)
    exponents[0] = 0
    return Drawn(_stacked(draws), np.exp2(exponents))


@functools.partial(jax.jit, static_argnums=(0, 2, 3))
def _draws(shapes, key: PRNGKeyArray, dtype, number: int) -> Drawn:
    key_scale, key_start = jax.random.split(key)
    exponents = jax.random.uniform(key_scale, (number,), dtype, *_EXPONENTS).at[0].set(0.0)
    keys = jax.random.split(key_start, number)
    draws = jax.vmap(lambda k: _drawn(shapes, k, dtype, True))(keys)
    return draws._replace(multiple=2.0**exponents)


def random_starts(problem: Problem, key: PRNGKeyArray, number: int) -> Float[Array, "S n"]:
    """`number` starts in the coordinates of the solvers.

    Runs inside `jit`.

    Parameters
    ----------
    problem
        What is started.
    key
        A `jax.random.key`, split among the starts.
    number
        How many.

    Returns
    -------
    Float[Array, "S n"]
        One flat start a row.
    """
    return jax.vmap(lambda start: flat_start(problem, start))(random_draws(problem, key, number))
