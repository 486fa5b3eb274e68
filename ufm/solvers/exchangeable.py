"""A start for large one-layer problems in which many classes are alike.

Classes with the same number of samples can be exchanged. Where d has room for all logits the lifted
problem is convex, so one optimum is invariant under all exchanges, and has few unknowns: a thousand
classes of an exponential tail are some four hundred groups, those of a step are two. On spheres, in
balls and under budgets it is convex as well, where d has room for all rows and columns.
"""

from __future__ import annotations

import math

import jax
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ufm._host import random
from ufm._programs.compilation import Compiling
from ufm._programs.jit import quick_jit
from ufm._system.progress import Progress
from ufm._validate import require, require_flag, require_instance, require_key
from ufm.model import Params, Problem, require_minimum
from ufm.solution import Result
from ufm.solvers.coordinates import Flat
from ufm.solvers.invariant import InvariantMerit
from ufm.solvers.narrowing import widened
from ufm.solvers.one_layer import is_plain
from ufm.solvers.solver import State, advance, code_of
from ufm.solvers.spherical import is_spherical
from ufm.tolerances import gradient_tolerance

# From so many classes on `minimise` makes use of groups by itself.
_MANY = 100
# Steps between two looks at the clock and the keyboard.
_PIECE = 5


def exchangeable_start(
    problem: Problem,
    *,
    key: PRNGKeyArray,
    tolerance: float | None = None,
    progress: bool | None = None,
) -> Params:
    r"""The best point in which classes that can be exchanged look alike.

    Found by `Newton` in the few unknowns of such points, from a random one of them. For one convex
    lifted problem it is the optimum itself, and `minimise(problem, start=…)` has nothing left to do
    but to look at it without any such restriction, and `certify` to prove it.

    Parameters
    ----------
    problem
        One linear layer with decay, spheres, balls or budgets (no anchor or frozen weights), with a
        column a class and some classes that are alike, and d >= K, or d >= K - 1 under a loss that
        a number added to all logits of a sample does not change.
    key
        A `jax.random.key`.
    tolerance
        On the relative gradient norm, as `minimise` takes it.
    progress
        Show progress on standard error; None shows it on a terminal once a second has passed.

    Returns
    -------
    Params
        A point for `minimise(problem, start=…)`: the rows of W and the features of such classes
        differ by an exchange of coordinates only. Ctrl-C returns the best so far.

    Raises
    ------
    ValueError
        For any other problem, for λ = 0 of what nothing else holds, and where the infimum is not
        attained.

    Notes
    -----
    It knows labels, loss and λ, and no predicted optimum; but it assumes that classes which are
    alike look alike, which is a part of what a theory of collapse claims. A certificate proves it;
    without one, as for a loss that is not convex, it is a start and no more.
    """
    require_instance("problem", problem, Problem)
    require_key("key", key)
    require_flag("progress", progress, optional=True)
    tolerance = gradient_tolerance(tolerance, problem.dtype)
    words = (
        "`problem` must have one linear layer with decay, spheres, balls or budgets alone to "
        "exchange its classes"
    )
    require(_is_exchanged(problem), words, problem)
    require_minimum(problem, "a minimiser")
    groups = groups_of(problem)
    words = "`problem` must have a column a class, and classes with the same number of samples"
    require(groups is not None, words, problem)
    least = _least_dim(problem)
    words = f"`widths` must hold d >= {least} to exchange these classes"
    require(problem.feature_dim >= least, words, problem)
    assert groups is not None
    point, _ = invariant_point(problem, groups, key, tolerance, progress)
    return widened(point, problem.feature_dim)


def exchangeable(problem: Problem) -> np.ndarray | None:
    """The groups (K,) of a problem so large, and with so few of them, that they should be used;
    else None.

    Parameters
    ----------
    problem
        Any.

    Returns
    -------
    np.ndarray | None
        As `groups_of` has them.
    """
    labels = problem.labels
    if labels.num_classes < _MANY or problem.feature_dim < _least_dim(problem):
        return None
    groups = groups_of(problem) if _is_exchanged(problem) else None
    few = groups is not None and 2 * (1 + np.max(groups)) <= len(groups)
    return groups if few else None


def invariant_point(
    problem: Problem,
    groups: np.ndarray,
    key: PRNGKeyArray,
    tolerance: float,
    progress: bool | None,
) -> tuple[Params, Result]:
    """What `exchangeable_start` finds, of checked arguments, and how it came to an end there.

    Parameters
    ----------
    problem, groups
        The problem, and the group (K,) of each class.
    key, tolerance, progress
        As there.

    Returns
    -------
    tuple[Params, Result]
        The point, without the dimensions that it has at zero; CONVERGED, INTERRUPTED by Ctrl-C, or
        what kept it from the end.
    """
    merit = InvariantMerit.of(problem, groups)
    with Compiling(show=progress):
        flat, result = _solved(merit, _drawn(merit, key), tolerance, progress)
    return merit.whole(flat), result


def _least_dim(problem: Problem) -> int:
    """With room for the directions of every group, and for those that groups share."""
    return problem.labels.num_classes - int(problem.loss.shift_invariant)


def _is_exchanged(problem: Problem) -> bool:
    """Whether one vector can stand for several, as far as all but the labels goes."""
    if not (is_plain(problem) or (is_spherical(problem) and problem.anchor is None)):
        return False
    first, sizes = np.zeros(1, int), np.ones(1, problem.dtype)
    domains = problem.domains.values()
    return all(domain.of_groups(first, sizes) is not None for domain in domains)


def groups_of(problem: Problem) -> np.ndarray | None:
    """The group (K,) of each class, as numbers from 0 on, or None where no two can be exchanged.

    Parameters
    ----------
    problem
        One layer with decay, spheres, balls or budgets.

    Returns
    -------
    np.ndarray | None
        Of labels with a column a class, the same targets for all other classes, and no offsets;
        classes that the loss or a domain tells apart are not alike.
    """
    labels = problem.labels
    if labels.num_classes != labels.num_columns or labels.offsets is not None:
        return None
    targets = np.asarray(labels.targets)
    parts = [np.diag(targets), labels.column_weights, labels.masses]
    # what a loss or a domain knows of each class or column
    known = jax.tree.leaves((problem.loss, problem.features, problem.classifier))
    parts += [leaf for leaf in known if np.shape(leaf) == labels.masses.shape]
    own = np.stack([np.asarray(part) for part in parts])
    rest = targets[~np.eye(len(targets), dtype=bool)]
    kinds, groups = np.unique(own, axis=1, return_inverse=True)
    alike = kinds.shape[1] < len(targets) and np.all(rest == rest[:1])
    return groups.reshape(-1) if alike else None


def _drawn(merit: InvariantMerit, key: PRNGKeyArray) -> np.ndarray | Array:
    """The random numbers of an invariant point: none for its bias."""
    (rows,), columns = merit.blocks.weights, merit.blocks.features
    number, dtype = math.prod(rows.shape) + math.prod(columns.shape), merit.sizes.dtype
    host = random.host_key(key)
    if host is None:
        return jax.random.normal(key, (number,), dtype)
    return random.normals([host], [(number,)], dtype)[0]


@quick_jit()
def _begun(merit: InvariantMerit, drawn: Float[Array, " r"]) -> State:
    """At a random invariant point."""
    begun = merit.solver.launch(merit, merit.start(drawn))
    # a number of weak type is firm after a step, for which `_advanced` would be compiled again
    return jax.tree.map(lambda leaf: leaf.astype(leaf.dtype), begun)


def _solved(
    merit: InvariantMerit, drawn, tolerance: float, progress: bool | None
) -> tuple[Flat, Result]:
    """Where `Newton` ends, and how."""
    budget = merit.solver.max_steps
    bar = Progress("groups of classes", total=budget, show=progress)
    state, result = _begun(merit, drawn), Result.MAX_STEPS
    try:
        while True:
            limit = min(int(state.num_steps) + _PIECE, budget)
            state, code = _advanced(merit, tolerance, limit, state)
            if int(code) != Result.RUNNING:
                result = Result(int(code))
                break
            if limit == budget:
                break
            bar.update(limit, f"relative gradient norm {float(state.grad_norm):.1e}")
    except KeyboardInterrupt:
        result = Result.INTERRUPTED
    bar.close()
    return state.flat, result


@quick_jit()
def _advanced(merit: InvariantMerit, tolerance, limit, state: State) -> tuple[State, Array]:
    state = advance(merit.solver.stepper(merit), tolerance, limit, state)
    return state, code_of(state, tolerance)
