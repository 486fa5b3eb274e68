"""Minimise with ReLU between the layers by smoothing it less and less.

Minima lie on kinks: preactivations of inner layers are exactly 0, no gradient vanishes there, and
descent on ReLU itself stops early. And the origin attracts random starts of deep problems, less so
under weaker decay.
"""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from ufm._progress import Progress
from ufm._validate import (
    MOST_STARTS,
    require,
    require_flag,
    require_instance,
    require_key,
    require_one_of,
    require_whole,
)
from ufm.maps import Activated
from ufm.model import Params, Problem, check_params, require_minimum
from ufm.solution import Result, Solution
from ufm.solvers.loop import minimise
from ufm.solvers.newton import Newton
from ufm.solvers.start import random_start

# Half the distance at which a smoothed ReLU still differs; each is a good start for the next.
_WIDTHS = (0.1, 0.03, 0.01, 3e-3, 1e-3, 3e-4, 1e-4, 1e-5, 1e-6, 1e-7)
# A point of the user's is kept where it is: the first widths would lead it away.
_CLOSE = _WIDTHS[2:]
# Without a stage under a tenth of the decay random starts end at zero from six matrices on.
_WEAKER = 0.1
# Random starts in turn, in units of the one that keeps the size of what passes a ReLU.
_SCALES = (0.7, 0.9, 1.1)


def minimise_rectified(
    problem: Problem,
    *,
    key: PRNGKeyArray | None = None,
    start: Params | None = None,
    starts: int = 1,
    max_steps: int = 100,
    progress: bool | None = None,
) -> Solution:
    r"""Minimise an objective with ReLU between the layers, by continuation.

    ReLU is replaced by $\tfrac12(x+\sqrt{x^2+4\epsilon^2})$ and ε led to 0, Newton's method at
    each; random starts go that way under a tenth of the decay first.

    Parameters
    ----------
    problem
        With `activation="relu"`.
    key
        A `jax.random.key`, for random starts; or
    start
        a point to go on from, as it is but for the last hundredth of ε.
    starts
        How many random starts.
    max_steps
        Newton steps at every ε, 100 unless given: a later ε mends what an earlier left.
    progress
        Show progress on standard error; None shows it on a terminal once a second has passed.

    Returns
    -------
    Solution
        Of the problem itself, ReLU unsmoothed: the best, with the `values` and `codes` of all
        starts. Ctrl-C returns the best so far, result INTERRUPTED; before a start has come to the
        decay of the problem it raises `KeyboardInterrupt`.

    Raises
    ------
    ValueError
        For another map, λ = 0, and a start that does not fit.

    Notes
    -----
    An upper bound on the minimum and no more. At a kink the gradient does not vanish, so the result
    is hardly ever CONVERGED, which says nothing against the point. Random starts may all agree and
    all be wrong: of 18 on three classes behind four matrices, at .3 of the threshold of collapse,
    17 end at collapse and one at .972724 of it. So start near the points of
    `ufm.laws.rectified_structures` too: from the triple with noise of .1 on every entry .972724 is
    reached as well, from the point itself .977422.
    """
    require_instance("problem", problem, Problem)
    rectified = isinstance(problem.map, Activated) and problem.map.activation == "relu"
    require(rectified, '`problem.map` must be that of activation="relu"', problem.map)
    require_minimum(problem, "a minimiser")
    require_one_of(key=key, start=start)
    starts = require_whole("starts", starts, most=MOST_STARTS)
    require(starts == 1 or key is not None, "`starts` > 1 needs `key`", starts)
    solver = Newton(max_steps=require_whole("max_steps", max_steps))
    require_flag("progress", progress, optional=True)
    if start is not None:
        return _through(problem, check_params(problem, start, name="start"), solver, _CLOSE)
    require_key("key", key)
    assert key is not None
    weaker = problem.replace(
        lambda_W=_WEAKER * problem.lambda_W, lambda_H=_WEAKER * problem.lambda_H
    )
    found: list[Solution] = []
    stopped = False
    bar = Progress("minimise", total=starts, show=progress)
    for i in range(starts):
        point = _random(problem, jax.random.fold_in(key, i), _SCALES[i % len(_SCALES)])
        # (a value under weaker decay is none of this problem)
        begun = _through(weaker, point, solver, _WIDTHS)
        stopped = begun.result is Result.INTERRUPTED
        if not stopped:
            found.append(_through(problem, begun.params, solver, _WIDTHS))
            stopped = found[-1].result is Result.INTERRUPTED
            bar.update(i + 1, f"best {min(float(solution.value) for solution in found):.9g}")
        if stopped:
            break
    bar.close()
    if not found:
        raise KeyboardInterrupt
    return _best_of(found, stopped)


def _random(problem: Problem, key: PRNGKeyArray, scale: float) -> Params:
    """A random start whose factors make up for the half of its input that a ReLU drops."""
    start = random_start(problem, key=key)
    larger = scale * math.sqrt(2)
    weights = tuple(larger * W for W in start.weights)
    return problem.projected(Params(weights, scale * start.features, start.bias))


def _through(problem: Problem, point: Params, solver: Newton, widths) -> Solution:
    """Through widths that shrink, and then ReLU itself, which takes no step uphill."""
    for width in widths:
        smooth = problem.replace(map=Activated("smooth_relu", width))
        solution = minimise(smooth, start=point, solver=solver, progress=False)
        point = solution.params
        if solution.result is Result.INTERRUPTED:
            break
    else:
        return minimise(problem, start=point, solver=solver, progress=False)
    stopped = minimise(problem, start=point, solver=Newton(max_steps=1), progress=False)
    return dataclasses.replace(stopped, codes=solution.codes, code=solution.code)


def _best_of(found: list[Solution], stopped: bool) -> Solution:
    values = np.array([float(solution.value) for solution in found])
    best = found[int(np.argmin(np.where(np.isfinite(values), values, np.inf)))]
    codes = jnp.stack([jnp.asarray(solution.code) for solution in found])
    code = jnp.asarray(int(Result.INTERRUPTED), codes.dtype) if stopped else best.code
    return dataclasses.replace(
        best, values=jnp.asarray(values, best.value.dtype), codes=codes, code=code
    )
