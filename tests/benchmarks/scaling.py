"""How the time of our Newton grows with K, d, N and M, beside scipy's L-BFGS-B on the same columns
and to the same accuracy."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence

import jax

import ufm
from tests.benchmarks.harness import Row, time_turns
from tests.benchmarks.numpy_objective import DeepObjective, matrix_product_rate
from tests.benchmarks.time_to_accuracy import (
    GramError,
    loosest_tolerance,
    ours,
    scipy_iterations,
    scipy_run,
)

ACCURACY = 1e-6
BASE = {"K": 10, "d": 64, "n": 20, "M": 1}
AXES: dict[str, Sequence[int]] = {
    "K": (5, 10, 20, 40),
    "d": (32, 64, 128, 256),
    "n": (5, 20, 80, 320),
    "M": (1, 2, 3, 4),
}


def make(*, K: int, d: int, n: int, M: int) -> ufm.Problem:
    """Squared error, for which there is a closed form at every depth.

    Λ far from the threshold at every size.
    """
    # the scale-free strength of one layer is K √n λ: held at 0.05, so that only the size changes
    # along an axis
    decay = 0.05 / (K * n**0.5)
    return ufm.Problem(
        ufm.one_hot([n] * K),
        loss=ufm.MeanSquaredError(),
        widths=(d,) * M,
        lambda_W=decay,
        lambda_H=decay,
    )


def rows(*, seeds: Iterable[int], repeats: int, base=BASE, axes=AXES) -> list[Row]:
    """One row a size. Depth is compared at λ of one layer: the deeper problem is the harder one."""
    seed = next(iter(seeds))
    result = []
    for axis, sizes in axes.items():
        for size in sizes:
            problem = make(**(base | {axis: size}))
            error, objective = GramError(problem), DeepObjective(problem)
            start = ufm.solvers.random_start(problem, key=jax.random.key(seed))
            solve = functools.partial(ours, problem, ufm.solvers.Newton(), start)
            tolerance = loosest_tolerance(solve, error, ACCURACY)
            iterations = scipy_iterations(objective, objective.flat(start), error, (ACCURACY,))[
                ACCURACY
            ]
            if tolerance is None or iterations is None:
                raise RuntimeError(
                    f"{axis} = {size}: a Gram error of {ACCURACY:g} was not reached by "
                    f"{'ours' if tolerance is None else 'scipy'}"
                )
            mine, other = time_turns(
                [
                    [functools.partial(solve, tolerance)],
                    [functools.partial(scipy_run, objective, objective.flat(start), iterations)],
                ],
                repeats=repeats,
            )
            work = _operations(problem) * int(solve(tolerance).num_evaluations)
            fraction = work / mine.wall / matrix_product_rate()
            result.append(
                Row(
                    name=f"minimise, {axis} = {size}",
                    rival_name="L-BFGS-B",
                    ours=mine,
                    rival=other,
                    notes={"of the matrix-product rate": fraction},
                    data={
                        "axis": axis,
                        "size": size,
                        "fraction of the matrix-product rate": fraction,
                        "rate": matrix_product_rate(),
                    },
                )
            )
    return result


def _operations(problem: ufm.Problem) -> float:
    """Floating-point operations of the matrix products of one gradient: three products a factor."""
    C = problem.labels.num_columns
    return sum(6.0 * rows * columns * C for rows, columns in problem.weight_shapes)
