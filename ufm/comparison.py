"""A measured solution against a predicted optimum, by what is identified.

Never W or H entry by entry.

Errors are relative to the size that a quantity has in this problem (`Optimum.sizes`, or the
prediction where that is larger), so that they also mean something where the prediction is 0.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import jax
import numpy as np

from ufm._validate import require, require_instance
from ufm.model import objective_error
from ufm.optima.optimum import Optimum, Spectrum
from ufm.solution import Solution
from ufm.tolerances import Tolerances, for_dtype

_NORMS = "arrays by their norm, no entry alone; error: norm of the difference, relative"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of a comparison.

    `measured` and `predicted` are norms where the quantity is an array; `error` is of the array
    itself.
    """

    quantity: str
    measured: float
    predicted: float
    error: float
    tolerance: float

    @property
    def ok(self) -> bool:
        """Whether the error is within the tolerance; NaN is not."""
        return bool(self.error <= self.tolerance)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What `compare` found.

    One row a quantity, the verdict, and the name of the stationary point that the solver reached.

    `found`: "global optimum", or which truncation or branch it is and by how much its value exceeds
    the optimum. `result`: how the solver ended.
    """

    rows: tuple[Row, ...]
    found: str
    regime: str
    source: str
    result: str
    dtype: str

    @property
    def ok(self) -> bool:
        """Whether every quantity agrees."""
        return all(row.ok for row in self.rows)

    def __getitem__(self, quantity: str) -> Row:
        """The row of a quantity."""
        return {row.quantity: row for row in self.rows}[quantity]

    def __str__(self) -> str:
        width = max(len(row.quantity) for row in self.rows)
        lines = [
            f"{'quantity':<{width}}  {'measured':>17}  {'predicted':>17}  {'error':>8}  "
            f"{'tolerance':>9}"
        ]
        for row in self.rows:
            numbers = (
                f"{row.measured:17.12g}  {row.predicted:17.12g}  {row.error:8.1e}  "
                f"{row.tolerance:9.0e}"
            )
            lines.append(f"{row.quantity:<{width}}  {numbers}  {'ok' if row.ok else 'FAILS'}")
        verdict = "agrees with the prediction" if self.ok else "does not agree with the prediction"
        dtype = (
            self.dtype
            if for_dtype(self.dtype).verifies
            else f"{self.dtype}, which never verifies a theorem"
        )
        lines += [
            f"{verdict}; found: {self.found}",
            f"predicted: {self.regime}; {self.source}",
            f"solver: {self.result}",
        ]
        return "\n".join([*lines, _NORMS, f"dtype: {dtype}"])

    def to_dict(self) -> dict:
        """Plain numbers and strings, for JSON."""
        rows = [
            {
                "quantity": row.quantity,
                "measured": row.measured,
                "predicted": row.predicted,
                "error": row.error,
                "tolerance": row.tolerance,
                "ok": row.ok,
            }
            for row in self.rows
        ]
        rest = {
            "found": self.found,
            "regime": self.regime,
            "source": self.source,
            "result": self.result,
            "dtype": self.dtype,
        }
        return {"ok": self.ok, **rest, "rows": rows}


@dataclass(frozen=True, kw_only=True, eq=False)
class _Measured:
    """A solution at class level, in float64 on the host."""

    weights: list[np.ndarray]
    means: np.ndarray
    classifier: np.ndarray
    product: np.ndarray
    bias: np.ndarray | None
    value: float
    spread: float
    balance: float
    value_tolerance: float


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
    of different shape.
    """
    require_instance("solution", solution, Solution)
    require_instance("optimum", optimum, Optimum)
    problem = solution.problem
    K, C = problem.labels.num_classes, problem.labels.num_columns
    columns = len(optimum.column_index)
    require(
        columns == C,
        f"`optimum` must belong to the solution's problem, which has {C} columns",
        columns,
    )
    require(
        len(optimum.logits) == K,
        f"`optimum` must belong to the solution's problem, which has K = {K}",
        len(optimum.logits),
    )
    depth = len(optimum.factor_singular_values) - 1
    require(
        depth == problem.depth,
        f"`optimum` must belong to the solution's problem, which has M = {problem.depth}",
        depth,
    )
    dtype = np.dtype(problem.dtype).name
    tolerances = for_dtype(dtype)
    measured = _measure(solution, optimum, tolerances)
    optimum = _nearest(optimum, measured)
    rows = _rows(
        measured, optimum, tolerances, full=len(optimum.masses) < C, balanced=problem.unconstrained
    )
    return Comparison(
        rows=rows,
        found=_name(measured, optimum, tolerances, agrees=all(row.ok for row in rows)),
        regime=optimum.regime,
        source=optimum.source,
        result=str(solution.result),
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


def _measure(solution: Solution, optimum: Optimum, tolerances: Tolerances) -> _Measured:
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
    return _Measured(
        weights=weights,
        means=means,
        classifier=classifier,
        product=classifier @ means * np.sqrt(optimum.masses),
        bias=None if params.bias is None else np.asarray(params.bias, dtype=np.float64),
        value=float(solution.value),
        spread=float(spread),
        balance=float(max(residuals)),
        value_tolerance=_value_tolerance(solution, optimum, tolerances),
    )


def _nearest(optimum: Optimum, measured: _Measured) -> Optimum:
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
        reached, rotation = np.linalg.eigh(_symmetric(_block(spectrum, measured.product, block)))
        rotation, reached = rotation[:, ::-1], reached[::-1]
        left[:, block], right[:, block] = left[:, block] @ rotation, right[:, block] @ rotation
        if boundary:
            # giving a direction up costs nothing here, so the measured rank is as good as any up to
            # the limit
            fractions[block] = np.where(reached > 0.5 * fractions[block], fractions[block], 0.0)
    return replace(optimum, **spectrum.quantities(fractions, left=left, right=right))


def _rows(
    measured: _Measured, optimum: Optimum, tolerances: Tolerances, *, full: bool, balanced: bool
) -> tuple[Row, ...]:
    def row(
        quantity: str,
        array: np.ndarray,
        predicted: np.ndarray,
        size: str,
        tolerance: float = tolerances.array,
    ) -> Row:
        """The row of an array: what is compared is its norm, what is judged the distance.

        Parameters
        ----------
        quantity
            Its name.
        array, predicted
            Of one shape.
        size
            Under which name its natural size stands, for a prediction of zero.
        tolerance
            On the distance relative to the larger of norm and size.

        Returns
        -------
        Row
            With the error.
        """
        norm = float(np.linalg.norm(predicted))
        scale = max(norm, optimum.sizes.get(size, 0.0)) or 1.0
        error = float(np.linalg.norm(array - predicted)) / scale
        return Row(
            quantity=quantity,
            measured=float(np.linalg.norm(array)),
            predicted=norm,
            error=error,
            tolerance=tolerance,
        )

    depth = len(measured.weights)
    logits = measured.classifier @ measured.means
    logits = logits if measured.bias is None else logits + measured.bias[:, None]
    predicted = optimum.factor_singular_values
    factors = [*measured.weights, measured.means * np.sqrt(optimum.masses)]
    names = [f"Gram spectrum of W_{depth - m}" for m in range(depth)] + ["Gram spectrum of H"]
    relative = abs(measured.value - optimum.value) / (abs(optimum.value) or 1.0)
    rows = [
        Row(
            quantity="value",
            measured=measured.value,
            predicted=optimum.value,
            error=relative,
            tolerance=measured.value_tolerance,
        ),
        row("logits", logits, optimum.logits, "logits"),
        row(
            "singular values of W H",
            _singular_values(measured.product, predicted.shape[1]),
            optimum.singular_values,
            "singular_values",
        ),
        row("class Gram", measured.means.T @ measured.means, optimum.class_gram, "class_gram"),
        row(
            "classifier Gram",
            measured.classifier @ measured.classifier.T,
            optimum.classifier_gram,
            "classifier_gram",
        ),
    ]
    if measured.bias is not None and optimum.bias is not None:
        rows.append(row("bias", measured.bias, optimum.bias, "bias"))
    for i, (name, factor, values) in enumerate(zip(names, factors, predicted, strict=True)):
        size = max(len(values), min(factor.shape))
        padded = np.pad(values, (0, size - len(values)))
        # squared, as in a Gram: at a collapse threshold a factor is off by the root of the error of
        # the product
        rows.append(row(name, _singular_values(factor, size) ** 2, padded**2, f"Gram spectrum {i}"))
    if full:
        rows.append(
            row("within-class spread", np.asarray(measured.spread), np.zeros(()), "features")
        )
    if balanced:
        rows.append(row("balance", np.asarray(measured.balance), np.zeros(()), "balance"))
    return tuple(rows)


def _name(measured: _Measured, optimum: Optimum, tolerances: Tolerances, *, agrees: bool) -> str:
    """Which of the stationary points of the decoupled problem this is."""
    if agrees:
        return "global optimum"
    excess = measured.value - optimum.value
    if excess < -measured.value_tolerance * abs(optimum.value):
        return (
            f"a point below the predicted optimum, so the prediction is not one (by {-excess:.1e})"
        )
    spectrum = optimum.spectrum
    by_how_much = f"value excess {excess:.1e}"
    unnamed = f"not one of the decoupled stationary points ({by_how_much})"
    if spectrum is None:
        return f"not the predicted optimum ({by_how_much})"
    features_size = optimum.sizes.get("features", 1.0)
    kinds = (
        _match(spectrum, measured, tolerances.branch)
        if measured.spread <= tolerances.branch * features_size
        else None
    )
    if kinds is None:
        return unnamed
    fractions = np.choose(
        kinds,
        [
            np.zeros(len(kinds)),
            np.nan_to_num(spectrum.points.small),
            np.nan_to_num(spectrum.points.large),
        ],
    )
    if abs(measured.value - spectrum.value(fractions)) > tolerances.branch * abs(optimum.value):
        return unnamed
    J = int(spectrum.active.sum())
    up, small = kinds == 2, kinds == 1
    if small.any():
        return f"small root in {small.sum()} of {len(kinds)} directions (a saddle, {by_how_much})"
    if not up.any():
        return (
            f"origin ({by_how_much})"
            if J
            else f"near the global optimum, the origin ({by_how_much})"
        )
    above = up & spectrum.metastable & ~spectrum.boundary
    if above.any():
        return (
            f"metastable branch in {above.sum()} of {up.sum()} active directions (above the "
            f"value of giving them up, {by_how_much})"
        )
    if abs(excess) <= tolerances.branch * abs(optimum.value) and up.sum() == J:
        return f"near the global optimum, outside the tolerances ({by_how_much})"
    r = int(up.sum())
    if spectrum.loads[up].max() <= spectrum.loads[~up].min(initial=np.inf) * (
        1 + tolerances.branch
    ):
        kind = "a local minimum" if spectrum.depth > 1 else "a saddle"
        return f"top-{r} truncation of {J} directions ({kind}, {by_how_much})"
    return f"truncation to {r} of {J} directions that drops a larger one (a saddle, {by_how_much})"


def _match(spectrum: Spectrum, measured: _Measured, tolerance: float) -> np.ndarray | None:
    """For each direction 0 (given up), 1 (small root) or 2 (large root).

    None if one is neither or the product is not aligned.
    """
    kinds = np.zeros(len(spectrum.mu), dtype=int)
    rest = measured.product.copy()
    for block in spectrum.blocks:
        reached = _block(spectrum, measured.product, block)
        rest -= (
            (spectrum.left[:, block] * np.sqrt(spectrum.mu[block]))
            @ reached
            @ spectrum.right[:, block].T
        )
        if np.linalg.norm(reached - reached.T) > tolerance * np.sqrt(len(reached)):
            return None
        # in a block every direction has the same stationary points; sorted like the optimum, the
        # largest fractions first
        f = np.linalg.eigvalsh(_symmetric(reached))[::-1]
        candidates = np.array(
            [0.0, spectrum.points.small[block.start], spectrum.points.large[block.start]]
        )
        distance = np.nan_to_num(np.abs(f[:, None] - candidates), nan=np.inf)
        if np.any(distance.min(axis=1) > tolerance):
            return None
        kinds[block] = distance.argmin(axis=1)
    size = np.sqrt(spectrum.mu.sum())
    return kinds if np.linalg.norm(rest) <= tolerance * size else None


def _block(spectrum: Spectrum, product: np.ndarray, block: slice) -> np.ndarray:
    """The product in the singular bases of one block, relative to the target."""
    return (
        spectrum.left[:, block].T
        @ product
        @ spectrum.right[:, block]
        / np.sqrt(spectrum.mu[block.start])
    )


def _symmetric(matrix: np.ndarray) -> np.ndarray:
    return 0.5 * (matrix + matrix.T)


def _singular_values(matrix: np.ndarray, size: int) -> np.ndarray:
    values = np.linalg.svd(matrix, compute_uv=False)
    return np.pad(values, (0, max(0, size - len(values))))
