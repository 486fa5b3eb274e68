"""A measured solution against a predicted optimum, by what is identified.

Never W or H entry by entry.

Errors are relative to the size that a quantity has in this problem (`Optimum.sizes`, or the
prediction where that is larger), so that they also mean something where the prediction is 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import jax
import numpy as np

from ufm._validate import require_instance
from ufm.comparison.belonging import require_belongs
from ufm.comparison.naming import Measured, name_of, of_block, symmetric
from ufm.comparison.table import Comparison, Row
from ufm.model import objective_error
from ufm.optima.optimum import Optimum
from ufm.solution import Solution
from ufm.tolerances import Tolerances, for_dtype

# A name, what was measured and predicted, and under which name its natural size stands.
_Quantity = tuple[str, np.ndarray | float, np.ndarray | float, str]


def compare(solution: Solution, optimum: Optimum) -> Comparison:
    """Compare what was measured with what was predicted, quantity by quantity, free of the gauge.

    `solution`: of `minimise`. `optimum`: of `closed_form`, for the same problem. Quantities: value;
    class-level logits; singular values of the mass-weighted product; Grams of class means and of
    the classifier; bias; Gram spectrum (squared singular values) of every factor; within-class
    spread (for several columns a class); balance of the factors, which holds at every stationary
    point (not where features are constrained). Where the optimum is not unique (a tie at the rank
    limit, a load at the threshold) the prediction is the one of the optima that is closest to the
    measured point.

    Tolerances are those of `ufm.tolerances` for the problem's dtype; the value may also be off by
    what rounding of its terms can amount to, if that is more. Raises `ValueError` when the two are
    of different problems.
    """
    require_instance("solution", solution, Solution)
    require_instance("optimum", optimum, Optimum)
    problem = solution.problem
    require_belongs(optimum, problem)
    C = problem.labels.num_columns
    dtype = np.dtype(problem.dtype).name
    tolerances = for_dtype(dtype)
    measured = _measure(solution, optimum, tolerances)
    optimum = _nearest(optimum, measured)
    rows = _rows(
        measured, optimum, tolerances, full=len(optimum.masses) < C, balanced=problem.unconstrained
    )
    return Comparison(
        rows=rows,
        found=name_of(measured, optimum, tolerances, agrees=all(row.ok for row in rows)),
        regime=optimum.regime,
        source=optimum.source,
        result=solution.advice,
        dtype=dtype,
    )


def _value_tolerance(solution: Solution, optimum: Optimum, tolerances: Tolerances) -> float:
    """Relative error that the measured value may have.

    That of the table, or what rounding of its terms amounts to.
    """
    size = abs(optimum.value) or 1.0
    if abs(float(solution.value) - optimum.value) <= tolerances.value * size:
        return tolerances.value
    # asked for only where it decides, because it is one more program to compile
    rounding = float(jax.jit(objective_error)(solution.problem, solution.params))
    return max(tolerances.value, rounding / size)


def _measure(solution: Solution, optimum: Optimum, tolerances: Tolerances) -> Measured:
    problem, params = solution.problem, solution.params
    weights = [np.asarray(W, dtype=np.float64) for W in params.weights]
    features = np.asarray(params.features, dtype=np.float64)
    masses = np.asarray(problem.labels.masses, dtype=np.float64)
    lambdas = [*np.asarray(problem.lambda_W, dtype=np.float64), float(problem.lambda_H)]
    # sums over runs of sorted columns: a membership matrix of N × K would be larger than the
    # features
    order = np.argsort(optimum.column_index, kind="stable")
    starts = np.searchsorted(optimum.column_index[order], np.arange(len(optimum.masses)))
    means = np.add.reduceat((features * masses)[:, order], starts, axis=1) / optimum.masses
    spread = np.sqrt(
        np.sum(masses * np.sum((features - means[:, optimum.column_index]) ** 2, axis=0))
    )
    classifier = weights[0]
    for W in weights[1:]:
        classifier = classifier @ W
    # λ_{m+1} W_{m+1}ᵀ W_{m+1} = λ_m W_m W_mᵀ, and for the innermost with the second moment of the
    # features
    inside = [W @ W.T for W in weights[1:]] + [(features * masses) @ features.T]
    neighbours = zip(lambdas[:-1], lambdas[1:], weights, inside, strict=True)
    residuals = [
        np.linalg.norm(outer * W.T @ W - inner * gram) for outer, inner, W, gram in neighbours
    ]
    return Measured(
        weights=weights,
        means=means,
        classifier=classifier,
        product=classifier @ means * np.sqrt(optimum.masses),
        bias=None if params.bias is None else np.asarray(params.bias, dtype=np.float64),
        value=float(solution.value),
        spread=float(spread),
        balance=float(max(residuals)),
        value_tolerance=_value_tolerance(solution, optimum, tolerances),
        nonnegative=problem.features.nonnegative,
    )


def _nearest(optimum: Optimum, measured: Measured) -> Optimum:
    """Where many points are optimal, the one that shares the measured subspace inside the
    degenerate blocks."""
    spectrum = optimum.spectrum
    if optimum.unique or spectrum is None:
        return optimum
    left, right, fractions = spectrum.left.copy(), spectrum.right.copy(), spectrum.fractions.copy()
    for block in spectrum.blocks:
        cut = spectrum.cut is not None and spectrum.cut[0] <= block.start < spectrum.cut[1]
        boundary = spectrum.boundary[block].any()
        if not (cut or boundary):
            continue
        reached, rotation = np.linalg.eigh(symmetric(of_block(spectrum, measured.product, block)))
        rotation, reached = rotation[:, ::-1], reached[::-1]
        left[:, block], right[:, block] = left[:, block] @ rotation, right[:, block] @ rotation
        if boundary:
            # giving a direction up costs nothing here, so the measured rank is as good as any up to
            # the limit
            fractions[block] = np.where(reached > 0.5 * fractions[block], fractions[block], 0.0)
    return replace(optimum, **spectrum.quantities(fractions, left=left, right=right))


def _row(
    quantity: str, array: np.ndarray, predicted: np.ndarray, *, size: float, tolerance: float
) -> Row:
    """Of an array: what is shown is its norm, what is judged the distance.

    That is relative to the norm of what is predicted, or to the natural `size` where it is larger.
    """
    norm = float(np.linalg.norm(predicted))
    scale = max(norm, size) or 1.0
    return Row(
        quantity=quantity,
        measured=float(np.linalg.norm(array)),
        predicted=norm,
        error=float(np.linalg.norm(array - predicted)) / scale,
        tolerance=tolerance,
    )


def _rows(
    measured: Measured, optimum: Optimum, tolerances: Tolerances, *, full: bool, balanced: bool
) -> tuple[Row, ...]:
    relative = abs(measured.value - optimum.value) / (abs(optimum.value) or 1.0)
    value = Row(
        quantity="value",
        measured=measured.value,
        predicted=optimum.value,
        error=relative,
        tolerance=measured.value_tolerance,
    )
    arrays = [*_of_product(measured, optimum), *_of_factors(measured, optimum)]
    if full:
        arrays.append(("within-class spread", measured.spread, 0.0, "features"))
    if balanced:
        arrays.append(("balance", measured.balance, 0.0, "balance"))
    return (
        value,
        *(
            _row(
                quantity,
                np.asarray(array),
                np.asarray(predicted),
                size=optimum.sizes.get(size, 0.0),
                tolerance=tolerances.array,
            )
            for quantity, array, predicted, size in arrays
        ),
    )


def _of_product(measured: Measured, optimum: Optimum) -> Iterator[_Quantity]:
    """Logits and bias, the singular values of W H, and both Grams."""
    means, classifier, bias = measured.means, measured.classifier, measured.bias
    logits = classifier @ means
    logits = logits if bias is None else logits + bias[:, None]
    number = optimum.factor_singular_values.shape[1]
    values = _singular_values(measured.product, number)
    yield "logits", logits, optimum.logits, "logits"
    yield "singular values of W H", values, optimum.singular_values, "singular_values"
    yield "class Gram", means.T @ means, optimum.class_gram, "class_gram"
    yield "classifier Gram", classifier @ classifier.T, optimum.classifier_gram, "classifier_gram"
    if bias is not None and optimum.bias is not None:
        yield "bias", bias, optimum.bias, "bias"


def _of_factors(measured: Measured, optimum: Optimum) -> Iterator[_Quantity]:
    """The spectrum of the Gram of every factor, outermost first."""
    depth, predicted = len(measured.weights), optimum.factor_singular_values
    factors = [*measured.weights, measured.means * np.sqrt(optimum.masses)]
    names = [f"Gram spectrum of W_{depth - m}" for m in range(depth)] + ["Gram spectrum of H"]
    for i, (name, factor, values) in enumerate(zip(names, factors, predicted, strict=True)):
        size = max(len(values), min(factor.shape))
        padded = np.pad(values, (0, size - len(values)))
        # squared, as in a Gram: at a collapse threshold a factor is off by the root of the error of
        # the product
        yield name, _singular_values(factor, size) ** 2, padded**2, f"Gram spectrum {i}"


def _singular_values(matrix: np.ndarray, size: int) -> np.ndarray:
    values = np.linalg.svd(matrix, compute_uv=False)
    return np.pad(values, (0, max(0, size - len(values))))
