r"""One d for all wide features of a problem with one layer.

The optimum does not depend on d from min(K, C) on, and one dimension more where a sphere gives
lengths. Keep the rows of W, and of H what lies in their span, of at most K dimensions: logits stay
and H is no longer than it was, which decay and balls allow; what columns on a sphere have lost
goes along one direction that no row of W has. Or the other way round, with C dimensions of the
columns of H. More of d is free rotations only. So no larger d is solved where decay alone holds
the factors, which is faster, and another d is not another program to compile. A smaller d could be
solved there too, with zeros that gradients and Hessians keep at zero, but was measured to take half
as long again.

Where a domain bounds a factor d is half as large again: random vectors of given lengths are in each
other's way by 1/√d, and steps from there are a third fewer (a hundred classes on spheres: 17 at d =
101, 12.5 at 130, 12 at 200).
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
from ufm.solvers.spherical import is_spherical


def narrowed(problem: Problem, solver: AbstractSolver) -> Problem:
    """The problem with as large a d as is of use for the same optimum, where the solver is
    `Newton`."""
    spare, other = problem.features.spare, problem.classifier.spare
    if not isinstance(solver, Newton) or spare is None or other is None:
        return problem
    enough = min(problem.labels.num_classes + spare, problem.labels.num_columns + other)
    if problem.feature_dim <= enough:
        return problem
    if not is_plain(problem):
        if not is_spherical(problem) or problem.anchor is not None:
            return problem
        enough += enough // 2
    return _at_width(problem, min(problem.feature_dim, enough))


def _at_width(problem: Problem, d: int) -> Problem:
    """A problem with one layer of another width, without checking all of it again."""
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
