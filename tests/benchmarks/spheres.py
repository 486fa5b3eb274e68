"""Cross-entropy with both factors on spheres against pymanopt's trust regions.

Both end where the gradient of log L along the spheres is below one tolerance: from the same starts
one by one, and from many starts of one law in one call against a loop. Ten times as fast was
promised of each problem. From the same start that is not so of a hundred classes, where products of
matrices of 100 x 128 are half of our time; there it holds of the way that takes classes which are
alike to look alike, and proves that they do.
"""

from __future__ import annotations

import functools

import jax
import numpy as np

import ufm
from tests.benchmarks.harness import Row, time_turns
from tests.benchmarks.manifold_rival import SphereCrossEntropy, has_pymanopt, trust_regions

# K, d and the inverse temperature: a simplex, two sharp codes, and many classes
SIZES = ((10, 16, 5.0), (12, 3, 5.0), (27, 6, 10.0), (100, 128, 10.0))
# The gradient norm of log L, and by how much two values at one optimum may differ.
TOLERANCE, SAME = 1e-8, 1e-10
# What was promised: of many classes with a proof.
PROMISED = 10.0
# Starts of one call, for sizes up to so many classes.
STARTS, FEW = 32, 30
# The duality gap of what is proved, for sizes from so many classes on.
GAP, MANY = 1e-9, 100


def our_problem(rival: SphereCrossEntropy) -> ufm.Problem:
    """Temperature in the lengths of the features."""
    return ufm.Problem(
        ufm.one_hot((1,) * rival.num_vectors, collapsed=True),
        loss=ufm.CrossEntropy(),
        widths=(rival.dim,),
        lambda_W=0.0,
        lambda_H=0.0,
        features=ufm.domains.Sphere(rival.beta),
        classifier=ufm.domains.Sphere(1.0),
    )


def rows(*, seeds, repeats: int, sizes=SIZES) -> list[Row]:
    """One row a size, none without pymanopt.

    `RuntimeError` where one misses the tolerance, or the two end at different values.
    """
    if not has_pymanopt():
        return []
    rivals = [SphereCrossEntropy(*size) for size in sizes]
    few = [rival for rival in rivals if rival.num_vectors <= FEW]
    many = [rival for rival in rivals if rival.num_vectors >= MANY]
    return [
        *(_row(rival, seeds, repeats) for rival in rivals),
        *(_row(rival, seeds, repeats, gap=GAP) for rival in many),
        *(_row_of_starts(rival, repeats) for rival in few),
    ]


def _row(rival: SphereCrossEntropy, seeds, repeats: int, gap: float | None = None) -> Row:
    """From random starts, the same for both unless ours is to prove the optimum."""
    problem = our_problem(rival)
    ours, theirs, gradients = [], [], []
    for seed in seeds:
        key = jax.random.key(seed)
        start = ufm.solvers.random_start(problem, key=key)
        begins = {"start": start} if gap is None else {"key": key, "gap": gap}
        ours.append(functools.partial(_minimise, problem, **begins))
        theirs.append(functools.partial(_rival_run, rival, start))
        gradients.append(_compared(rival, ours[-1](), theirs[-1]()))
    mine, other = time_turns([ours, theirs], repeats=repeats)
    worst = np.max(gradients, axis=0)
    proved = "" if gap is None else f", proved to {gap:g}"
    return Row(
        f"spheres, K={rival.num_vectors}, d={rival.dim}, beta={rival.beta:g}{proved}",
        "pymanopt, trust regions",
        mine,
        other,
        required=PROMISED if rival.num_vectors < MANY or gap is not None else None,
        notes={"gradient norm of log L": float(worst[0]), "rival's": float(worst[1])},
    )


def _row_of_starts(rival: SphereCrossEntropy, repeats: int) -> Row:
    """The best of many starts; every start of either side has to reach the tolerance."""
    problem, key = our_problem(rival), jax.random.key(0)
    starts = [
        ufm.solvers.random_start(problem, key=k)
        for k in jax.random.split(jax.random.key(1), STARTS)
    ]

    def ours():
        return ufm.minimise(problem, key=key, starts=STARTS, tolerance=TOLERANCE, progress=False)

    def theirs():
        return [_rival_run(rival, start) for start in starts]

    solution, points = ours(), theirs()
    if not np.all(np.asarray(solution.codes) == ufm.Result.CONVERGED):
        raise RuntimeError("some start of ours did not converge")
    best = min(points, key=lambda point: rival.parts(*point)[0])
    gradient, _ = _compared(rival, solution.params, best)
    worst = max(rival.gradient_norm(*point) for point in points)
    mine, other = time_turns([[ours], [theirs]], repeats=repeats)
    return Row(
        f"{STARTS} starts on spheres, K={rival.num_vectors}, d={rival.dim}, beta={rival.beta:g}",
        "loop over pymanopt, trust regions",
        mine,
        other,
        required=PROMISED,
        notes={"gradient norm of log L": gradient, "rival's, worst": worst},
    )


def _rival_run(rival: SphereCrossEntropy, start):
    W, H = np.asarray(start.weights[0]).T, np.asarray(start.features) / rival.beta
    return trust_regions(rival, (W, H), TOLERANCE)


def _minimise(problem: ufm.Problem, **begins):
    solution = ufm.minimise(problem, tolerance=TOLERANCE, progress=False, **begins)
    if "gap" in begins and solution.result is not ufm.Result.PROVED:
        raise RuntimeError(f"not proved: {solution.result}")
    return jax.block_until_ready(solution.params)


def _compared(rival: SphereCrossEntropy, params, point) -> tuple[float, float]:
    """Gradient norms of the two, which must be small, and values that must be one."""
    points = (
        (np.asarray(params.weights[0]).T, np.asarray(params.features) / rival.beta),
        tuple(point),
    )
    values = [rival.parts(W, H)[0] for W, H in points]
    first, second = (rival.gradient_norm(W, H) for W, H in points)
    if not max(first, second) <= TOLERANCE:
        raise RuntimeError(f"gradients of {first:.1e} and {second:.1e} are above {TOLERANCE:g}")
    if not abs(values[0] / values[1] - 1) <= SAME:
        raise RuntimeError(f"the two end at different values, {values}")
    return first, second
