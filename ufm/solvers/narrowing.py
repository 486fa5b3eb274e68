r"""One feature dimension for all of a plain problem with one layer.

The optimum does not depend on d from min(K, C) on, as $W H$ has no higher rank and more of d is
free rotations only; and where the last rows of H and columns of W are zero, gradients and Hessians
keep them at zero exactly, so that a smaller d is a face of that problem. So d = min(K, C) is what
is solved, faster than a larger d, and another d is not another program to compile.
"""

from __future__ import annotations

import copy
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ufm.model import Params, Problem
from ufm.solvers.newton import Newton
from ufm.solvers.solver import AbstractSolver

# Up to so many classes and columns a smaller d is padded with zeros: the time of a step is not that
# of its products there.
_LARGEST_PADDED = 24


def plain(problem: Problem) -> bool:
    """Whether it is the unconstrained one-layer model with decay alone."""
    return problem.depth == 1 and problem.plain


def narrowed(problem: Problem, solver: AbstractSolver) -> Problem:
    """The problem with the smallest d of the same optimum, where the solver is `Newton`."""
    d = min(problem.feature_dim, problem.labels.num_classes, problem.labels.num_columns)
    return _at_width(problem, d) if plain(problem) and isinstance(solver, Newton) else problem


def padded(problem: Problem, solver: AbstractSolver) -> Problem:
    """What is solved for a narrowed problem: a small one at d = min(K, C)."""
    sides = problem.labels.num_classes, problem.labels.num_columns
    small = plain(problem) and isinstance(solver, Newton) and max(sides) <= _LARGEST_PADDED
    return _at_width(problem, max(problem.feature_dim, min(sides))) if small else problem


def _at_width(problem: Problem, d: int) -> Problem:
    """A plain problem with one layer of another width, without checking all of it again."""
    if d == problem.feature_dim:
        return problem
    other = copy.copy(problem)
    object.__setattr__(other, "widths", (d,))
    return other


def fitted(params: Params, d: int) -> Params:
    """The point with rows of H and columns of W cut off, or further ones at zero.

    Also of stacked points. Runs inside `jit`.
    """
    features = params.features
    if features.shape[-2] == d:
        return params
    (W,) = params.weights
    return Params((_fitted(W, d, -1),), _fitted(features, d, -2), params.bias)


def _fitted(array: Array | np.ndarray, d: int, axis: int) -> Any:
    missing = d - array.shape[axis]
    if missing <= 0:
        return array[..., :d] if axis == -1 else array[..., :d, :]
    pads = [(0, 0)] * array.ndim
    pads[axis] = (0, missing)
    return np.pad(array, pads) if isinstance(array, np.ndarray) else jnp.pad(array, pads)
