"""The questions that `check_loss` puts to a loss."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from ufm._classes.inspection import Absent, Wrong
from ufm.losses import answers
from ufm.losses.base import AbstractLoss
from ufm.losses.points import Points
from ufm.losses.rows import DifferentiatedRows


def _shapes(points: Points):
    z, q, S = points.logits, points.targets, points.logits.shape[1]
    pairs = (np.stack([array, array[:, ::-1]], axis=-1) for array in (z, q))
    cases = (("(K,)", z[:, 0], q[:, 0], ()), ("(K, S)", z, q, (S,)), ("(K, S, 2)", *pairs, (S, 2)))
    for words, logits, targets, wanted in cases:
        traced = points.value(logits, targets)
        # (operation by operation once: each is a program)
        one = points.loss(jnp.asarray(z), jnp.asarray(q)) if logits is z else traced
        for how, array in (("", one), (" under jit", traced)):
            if np.shape(array) != wanted:
                raise Wrong(
                    f"one number a column: logits {words}{how} must give shape {wanted}; got "
                    f"{np.shape(array)}"
                )
    return iter(())


def _columns(points: Points):
    columns = (0, 9, 30)
    # (as (K, 1): of a loss that (K,) is too little for, "shapes" tells)
    alone = [points.value(points.logits[:, [c]], points.targets[:, [c]]) for c in columns]
    together = points.values[list(columns)]
    yield "the loss of a column depends on the others", np.hstack(alone) - together, together


def _dtype(points: Points):
    for dtype in {np.dtype(np.float32), points.logits.dtype}:
        z, q = points.logits.astype(dtype), points.targets.astype(dtype)
        losses, duals = answers.value_and_dual(points.loss, z, q)
        for words, array in (("value", losses), ("gradient", duals)):
            if array.dtype != dtype:
                raise Wrong(f"the {words} of {dtype} logits must be {dtype}; got {array.dtype}")
    return iter(())


def _gradient(points: Points):
    eps = float(np.finfo(points.logits.dtype).eps)
    slope = np.sum(points.duals * points.directions, axis=0)

    def missed(step: float) -> np.ndarray:
        ahead = points.value(points.logits + step * points.directions)
        behind = points.value(points.logits - step * points.directions)
        return np.abs(slope - (ahead - behind) / (2 * step))

    # a central difference errs by the step squared and by rounding over the step, here alike; where
    # the slope has a kink, by the step, so by less for a shorter one, which a wrong gradient is not
    step, shorter = eps ** (1 / 3), 64
    missing, closer = missed(step), missed(step / shorter)
    missing = np.where(closer < missing / 8, closer / shorter, missing)
    scale = points.rounding / (100 * eps ** (2 / 3))
    size = (1 + np.abs(points.values)) * np.sum(points.directions**2, axis=0)
    yield "the gradient is not that of the value", scale * missing, size


def _finite(points: Points):
    for size in (0.0, 1.0, 30.0, 300.0):
        losses, duals = points.value_and_dual(size * points.directions)
        if np.any(np.isnan(losses)) or not np.all(np.isfinite(duals[:, np.isfinite(losses)])):
            raise Wrong(f"value or gradient at logits of size {size:g} is not a number")
    return iter(())


def _convexity(points: Points):
    _require_convex(points.loss)
    for share in (0.5, 0.1):
        between = (1 - share) * points.logits + share * points.others
        chord = (1 - share) * points.values + share * points.value(points.others)
        excess = points.value(between) - chord
        yield (
            "the loss lies above its chord, so `convex` must be False",
            np.maximum(excess, 0),
            chord,
        )


def _require_convex(loss: AbstractLoss) -> None:
    if not loss.convex:
        simplest = loss.canonical()
        raise Absent(
            f"a matter of {simplest}"
            if simplest.convex
            else "not convex in the logits: no certificate"
        )


def _require_conjugate(loss: AbstractLoss, method: str = "conjugate") -> None:
    _require_convex(loss)
    if loss.lacking(method) is not None:
        raise Absent(
            f"no `{method}`: no certificate{' with a free bias' * (method == 'best_bias')}"
        )


def _equality(points: Points):
    _require_conjugate(points.loss)
    conjugates = points.conjugate(points.duals)
    if conjugates.shape != points.values.shape:
        raise Wrong(
            f"the conjugate must have shape {points.values.shape}, one number a column; got "
            f"{conjugates.shape}"
        )
    product = np.sum(points.duals * points.logits, axis=0)
    size = (
        np.abs(points.values)
        + np.abs(conjugates)
        + np.sum(np.abs(points.duals * points.logits), axis=0)
    )
    yield (
        "value + conjugate differs from uᵀz at u = ∇ℓ(z)",
        points.values + conjugates - product,
        size,
    )


def _inequality(points: Points):
    _require_conjugate(points.loss)
    for scale in (1.0, 0.5, 0.0):
        duals = scale * points.duals
        conjugates = points.conjugate(duals)
        if not np.all(np.isfinite(conjugates)):
            raise Wrong(
                f"the conjugate is not finite at {scale:g} times a gradient, which certificates "
                f"ask for{points.at(conjugates)}"
            )
        for logits in (points.logits, points.others, np.zeros_like(points.logits)):
            surplus = points.value(logits) + conjugates - np.sum(duals * logits, axis=0)
            size = np.sum(np.abs(duals * logits), axis=0) + np.abs(conjugates)
            yield (
                f"value + conjugate falls below uᵀz at {scale:g} times a gradient",
                np.minimum(surplus, 0),
                size,
            )


def _bias(points: Points):
    _require_conjugate(points.loss, "best_bias")
    asked = points.loss, points.logits, points.targets, points.weights
    bias = np.asarray(answers.best_bias(*asked))
    if bias.shape != points.logits.shape[:1]:
        raise Wrong(f"the best bias must have shape {points.logits.shape[:1]}; got {bias.shape}")
    _, duals = points.value_and_dual(points.logits + bias[:, None])
    size = np.abs(duals) @ points.weights
    yield "the mean loss is not flat in the bias at the best bias", duals @ points.weights, size


def _flat(points: Points):
    loss, K = points.loss, len(points.logits)
    sums_to_one = bool(np.allclose(points.targets.sum(axis=0), 1))
    ones = np.ones(K, points.logits.dtype)
    direction = loss.flat_direction(K)

    def change(along):
        return points.value(points.logits + 2 * np.asarray(along)[:, None]) - points.values

    if direction is not None:
        yield "the loss changes along its `flat_direction`", change(direction), points.values
    if loss.shift_invariant:
        yield (
            "the loss changes with a common shift, so `shift_invariant` must be False",
            change(ones),
            points.values,
        )
    elif (
        direction is None
        and sums_to_one
        and np.all(np.abs(change(ones)) <= points.rounding * (1 + np.abs(points.values)))
    ):
        raise Wrong("a common shift costs nothing, so `shift_invariant` must be True")


def _canonical(points: Points):
    simplest = points.loss.canonical()
    if simplest.canonical() is not simplest:
        raise Wrong(f"the canonical form of the canonical form {simplest} is yet another loss")
    yield (
        f"the canonical form {simplest} has other values",
        np.asarray(answers.value(simplest, points.logits, points.targets)) - points.values,
        points.values,
    )
    if points.loss.least_squares:
        squares = 0.5 * np.sum((points.logits - points.targets) ** 2, axis=0)
        yield "`least_squares` is for ½‖z − q‖² only", points.values - squares, squares


def _centring(points: Points):
    _require_conjugate(points.loss)
    loss, weights = points.loss, points.weights
    centred = np.asarray(answers.centred(loss, points.duals, points.targets, weights))
    yield "the centred dual columns have a mean", centred @ weights, np.abs(points.duals) @ weights
    if not np.all(np.isfinite(points.conjugate(centred))):
        raise Absent(
            "centred dual columns leave the domain of the conjugate: no certificate of a free "
            "bias for large problems"
        )


def _scale(points: Points):
    _require_conjugate(points.loss)
    for limit in (0.1, 1.0, 10.0):
        top = np.asarray(limit, points.logits.dtype)
        asked = points.loss, points.duals, points.targets, points.weights, top
        t = np.asarray(answers.dual_scale(*asked))
        yield (
            f"the dual scale leaves [0, {limit:g}]",
            np.maximum(t - top, 0) + np.maximum(-t, 0),
            t,
        )


def _rows(points: Points):
    K, dtype = len(points.logits), points.logits.dtype
    one = jnp.ones((), dtype)
    # (its kind alone, without the arrays)
    rows = jax.eval_shape(points.loss.rows, jnp.eye(K, dtype=dtype), one, one)
    if isinstance(rows, DifferentiatedRows):
        raise Absent("no derivatives for rows: by differentiation")
    asked = points.loss, points.logits, points.targets, points.directions
    value, residual, curve = map(np.asarray, answers.of_rows(*asked))
    yield "`rows` has another value", value - points.values, points.values
    yield "`rows` has another residual", residual.T + points.duals, points.duals
    curved = np.asarray(answers.curved(*asked))
    yield "`rows` has another Hessian", curve.T - curved, curved


QUESTIONS = (
    ("shapes", _shapes),
    ("columns", _columns),
    ("dtype", _dtype),
    ("finite", _finite),
    ("gradient", _gradient),
    ("convexity", _convexity),
    ("Fenchel–Young equality", _equality),
    ("Fenchel–Young inequality", _inequality),
    ("best bias", _bias),
    ("flat direction", _flat),
    ("canonical form", _canonical),
    ("dual scale", _scale),
    ("centring", _centring),
    ("rows", _rows),
)
