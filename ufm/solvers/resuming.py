"""What a solve that is resumed must have in common with the earlier one."""

from __future__ import annotations

import jax
import numpy as np

from ufm._validate import require, require_instance
from ufm.model import Problem
from ufm.solution import Solution
from ufm.solvers import pieces
from ufm.solvers.solver import AbstractSolver, State


def require_same_problem(problem, resume: Solution) -> None:
    """`ValueError` unless `resume` is a solution of this very problem."""
    require_instance("resume", resume, Solution)
    same = jax.tree.structure(problem) == jax.tree.structure(resume.problem) and all(
        np.array_equal(a, b)
        for a, b in zip(jax.tree.leaves(problem), jax.tree.leaves(resume.problem), strict=True)
    )
    require(
        same, "`resume` must be a solution of the same problem", "a solution of another problem"
    )


def require_same_solver(problem: Problem, solver: AbstractSolver, states: State) -> None:
    """The states are what this solver makes of this problem.

    Parameters
    ----------
    problem, solver
        What is solved, and how.
    states
        Of S starts, from an earlier solve.

    Raises
    ------
    ValueError
        For states of another structure, or of other shapes.
    """
    size = sum(block.size for block in problem.blocks)
    own = jax.eval_shape(
        pieces.fresh, problem, solver, jax.ShapeDtypeStruct((size,), problem.dtype)
    )
    same = jax.tree.structure(own) == jax.tree.structure(states) and all(
        np.shape(a)[1:] == b.shape
        for a, b in zip(jax.tree.leaves(states), jax.tree.leaves(own), strict=True)
    )
    require(same, "`resume` must be a solution of the same solver", f"another one than {solver}")
