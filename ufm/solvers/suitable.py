"""The solver of a problem: its default, and which ones can keep to its domains."""

from __future__ import annotations

from ufm._validate import require, require_instance
from ufm.model import Problem
from ufm.solvers.lbfgs import LBFGS
from ufm.solvers.newton import Newton, ProjectedNewton
from ufm.solvers.solver import AbstractSolver

# The default solvers, made once: a module of many fields takes a tenth of a millisecond to make.
_NEWTON, _PROJECTED = Newton(), ProjectedNewton()
# its vectors are most of the memory, some 35 (K + C) d numbers
_IN_CHUNKS = LBFGS(memory_size=10)


def suitable_solver(problem: Problem, solver: AbstractSolver | None) -> AbstractSolver:
    """The default of a problem for None.

    `ValueError` for what is no solver, and for one that cannot stay in the domains.
    """
    domains = problem.domains
    default = _PROJECTED if any(domain.nonnegative for domain in domains.values()) else _NEWTON
    if problem.chunk is not None:
        words = "`problem.{}` must be unconstrained where the labels are too large for all logits"
        for name, domain in domains.items():
            require(not domain.nonnegative, words.format(name), domain)
        default = _IN_CHUNKS
    if solver is None:
        return default
    require_instance("solver", solver, AbstractSolver, "a solver such as ufm.solvers.Newton()")
    few = problem.chunk is None or not solver.second_order
    words = (
        "`solver` must take first derivatives only where the labels are too large for all logits"
    )
    require(few, words, type(solver).__name__)
    for name, domain in domains.items():
        words = f"`solver` must be a {type(default).__name__}() (the default) for {name}={domain}"
        require(solver.covers(domain), words, type(solver).__name__)
    return solver
