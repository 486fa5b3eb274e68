"""Random starts. They know the sizes of λ and targets, and nothing of any optimum."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PRNGKeyArray

from ufm._programs.outside import on_the_host
from ufm._validate import require_instance, require_key, require_positive
from ufm.model import Params, Problem, require_decay
from ufm.solvers.coordinates import Flat, to_flat
from ufm.solvers.draws import Drawn, drawn, drawn_each, random_draws
from ufm.solvers.one_layer import is_plain

# One layer has no local minima to avoid, and a small start has less to unlearn: a third fewer
# Hessian-vector products.
_ONE_LAYER = 0.3


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
        other = "ufm.solvers.random_start(problem, key=key, std=0.1) gives another start"
        require_decay(problem, f"a start scaled to the problem; {other}")
    else:
        require_positive("std", std, shape=())
    start = drawn(problem, key, orthonormal=std is None)
    return _placed(problem, start, None if std is None else jnp.asarray(std, problem.dtype))


def each_start(problem: Problem, stacked: Problem, keys: Key[Array, " B"]) -> Params:
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
    return _placed_each(stacked, drawn_each(problem, keys))


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
