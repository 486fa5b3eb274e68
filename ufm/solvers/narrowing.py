r"""One d for all wide features of a plain problem with one layer.

The optimum does not depend on d from min(K, C) on, as $W H$ has no higher rank and more of d is
free rotations only. So d = min(K, C) is what is solved, faster than a larger d, and another d is
not another program to compile. A smaller d could be solved there too, with zeros that gradients and
Hessians keep at zero, but was measured to take half as long again.
"""

from __future__ import annotations

import copy

import jax
import jax.numpy as jnp
import numpy as np

from ufm._validate import is_traced
from ufm.model import Params, Problem
from ufm.solvers.newton import Newton
from ufm.solvers.one_layer import is_plain
from ufm.solvers.solver import AbstractSolver


def narrowed(problem: Problem, solver: AbstractSolver) -> Problem:
    """The problem with the smallest d of the same optimum, where the solver is `Newton`."""
    if not isinstance(solver, Newton) or not is_plain(problem):
        return problem
    d = min(problem.feature_dim, problem.labels.num_classes, problem.labels.num_columns)
    return _at_width(problem, d)


def _at_width(problem: Problem, d: int) -> Problem:
    """A plain problem with one layer of another width, without checking all of it again."""
    if d == problem.feature_dim:
        return problem
    other = copy.copy(problem)
    object.__setattr__(other, "widths", (d,))
    return other


def widened(params: Params, d: int) -> Params:
    """The point with further rows of H and columns of W at zero.

    Also of stacked points. Runs inside `jit`.
    """
    missing = d - params.features.shape[-2]
    if not missing:
        return params
    (W,) = params.weights
    before = [(0, 0)] * (W.ndim - 2)
    rows, columns = [*before, (0, 0), (0, missing)], [*before, (0, missing), (0, 0)]
    if is_traced(params):
        wide, features = jnp.pad(W, rows), jnp.pad(params.features, columns)
    else:
        wide, features = jax.device_put((np.pad(W, rows), np.pad(params.features, columns)))
    return Params((wide,), features, params.bias)
