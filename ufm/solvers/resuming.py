"""What a solve that is resumed must have in common with the earlier one."""

from __future__ import annotations

import jax
import numpy as np

from ufm._validate import require, require_instance
from ufm.model import Problem
from ufm.solution import Solution
from ufm.solvers import pieces
from ufm.solvers.packed import Packed
from ufm.solvers.solver import AbstractSolver


def require_same_problem(problem, resume: Solution) -> None:
    """`ValueError` unless `resume` is a solution of this very problem."""
    require_instance("resume", resume, Solution)
    words = "`resume` must be a solution of `ufm.minimise`"
    require(isinstance(resume.state, Packed), words, "one that has no steps to go on with")
    words = "`resume` must be a solution of the same problem"
    require(same_problem(problem, resume.problem), words, "a solution of another problem")


def same_problem(one: Problem, other: Problem) -> bool:
    """Whether two problems are one, in every number and its dtype."""
    return jax.tree.structure(one) == jax.tree.structure(other) and all(
        np.asarray(a).dtype == np.asarray(b).dtype and np.array_equal(a, b)
        for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    )


def require_same_solver(problem: Problem, solver: AbstractSolver, held: Packed) -> None:
    """States are what this solver makes of this problem.

    Parameters
    ----------
    problem, solver
        What is solved, and how.
    held
        Of S starts, from an earlier solve.

    Raises
    ------
    ValueError
        For states of another structure, or of other shapes.
    """
    flats = jax.ShapeDtypeStruct((len(held.codes), problem.blocks.size), problem.dtype)
    own = jax.eval_shape(pieces.fresh, problem, solver, flats)
    same = jax.tree.structure(own) == jax.tree.structure(held) and all(
        np.shape(a) == b.shape
        for a, b in zip(jax.tree.leaves(held), jax.tree.leaves(own), strict=True)
    )
    require(same, "`resume` must be a solution of the same solver", f"another one than {solver}")
