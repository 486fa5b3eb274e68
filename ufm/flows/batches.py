"""Problems and starts of a batch of flows, checked and stacked."""

from __future__ import annotations

import jax
import numpy as np

from ufm._validate import require, require_instance, require_key, require_one_of
from ufm.batch.stacked import lanes_of, shapes_of, stack
from ufm.model import Params, Problem, check_params, require_decay, require_smooth
from ufm.solvers.start import each_start


def checked_batch(problems, keys, starts) -> tuple[Problem, Params, int]:
    """Problems and points, each stacked on the host, and how many there are.

    Parameters
    ----------
    problems, keys, starts
        As for `flow_batch`.

    Returns
    -------
    tuple[Problem, Params, int]
        The first two with a leading axis of the third.

    Raises
    ------
    ValueError
        For problems of different shapes, and numbers that disagree.
    """
    require_one_of(keys=keys, starts=starts)
    singles = _singles(problems)
    number = _number(keys, starts)
    require(
        number >= 1, "`keys` or `starts` must hold at least one, stacked on a leading axis", number
    )
    require(
        len(singles) in (1, number),
        f"`problems` must be one, or as many as there are starts, {number}",
        len(singles),
    )
    stacked = (
        stack(singles)
        if len(singles) == number
        else jax.tree.map(
            lambda leaf: np.broadcast_to(np.asarray(leaf), (number, *np.shape(leaf))), singles[0]
        )
    )
    if keys is not None:
        for problem in singles:
            other = "give `starts`, from ufm.solvers.random_start(problem, key=key, std=0.1)"
            require_decay(problem, f"random starts; {other}")
        points = each_start(singles[0], stacked, keys)
    else:
        points = starts if isinstance(starts, Params) else stack(starts)
    return stacked, _checked_points(singles[0], jax.device_get(points), number), number


def _singles(problems) -> list[Problem]:
    """The problems, of one shape and with a flow."""
    words = "a ufm.Problem or a list of them"
    require_instance("problems", problems, (Problem, tuple, list), words)
    singles = [problems] if isinstance(problems, Problem) else list(problems)
    require(len(singles) >= 1, "`problems` must hold at least one problem", singles)
    for i, problem in enumerate(singles):
        require_instance(f"problems[{i}]", problem, Problem)
        require_smooth(problem, "a flow")
    shapes = shapes_of(singles[0])
    for i, problem in enumerate(singles):
        require(
            shapes_of(problem) == shapes,
            f"`problems[{i}]` must have the shapes, loss and kind of bias of the first",
            problem,
        )
    return singles


def _number(keys, starts) -> int:
    """How many keys there are, or starts."""
    if keys is not None:
        require_instance("keys", keys, jax.Array, "keys of shape (B,), as from jax.random.split")
        require_key("keys", keys, shape=(np.size(keys),))
        return len(keys)
    if isinstance(starts, Params):
        return np.shape(starts.features)[0] if np.ndim(starts.features) == 3 else 0
    words = "a list of ufm.Params, or one with stacked leaves"
    require_instance("starts", starts, (tuple, list), words)
    for i, start in enumerate(starts):
        require_instance(f"starts[{i}]", start, Params)
    return len(starts)


def _checked_points(problem: Problem, points: Params, number: int) -> Params:
    """Stacked points: the first as `check_params` wants it, the others of its shapes, all
    finite."""
    check_params(problem, lanes_of(points, 0), name="starts[0]")
    for leaf in jax.tree.leaves(points):
        require(
            len(leaf) == number,
            f"`starts` must have {number} points on the leading axis of every leaf",
            np.shape(leaf),
        )
        require(np.all(np.isfinite(leaf)), "`starts` must be finite", "NaN or infinity")
    return points
