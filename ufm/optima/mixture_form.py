r"""Cross-entropy with mixup-type labels, one linear layer, balanced: recognising the problem, and the optimum column by column."""

from __future__ import annotations

import numpy as np

from ufm.mixtures import MixedPairs, mixed_pairs
from ufm.optima.channels import channel, same_class_gap
from ufm.optima.inversion import Floats
from ufm.optima.joint_mixup import solve_mixture
from ufm.optima.one_layer import shown
from ufm.optima.optimum import NoClosedForm, Optimum, merged_columns
from ufm.problem import Problem, require_decay

# The Gram matrix of the distinct columns is part of an optimum; one of 4096 columns takes 128 MiB.
_MOST_COLUMNS = 4096

_SOURCE = (
    "derived here: the simplex ETF that Fisher, Meng & Papyan 2024 assume for mixup is the optimum; multiplier and threshold derived here"
)


def is_mixture(problem: Problem) -> bool:
    """Whether some label mixes two classes, none more, and the labels are not one target for each class."""
    targets = np.asarray(problem.labels.targets)
    number = np.sum(targets != 0, axis=0)
    if number.max() != 2 or number.min() == 0:
        return False
    distinct = np.unique(targets, axis=1)
    return len(np.unique(np.argmax(distinct, axis=0))) != distinct.shape[1] or distinct.shape[1] != len(targets)


def mixture_optimum(problem: Problem) -> Optimum:
    r"""The global optimum of cross-entropy where labels mix two classes, all pairs and both orders alike.

    $WW^\top = aP$ with $a = N\lambda_H/s$, s from `solve_mixture`; logits from `channel` and `same_class_gap`, one column per distinct
    label; zero beyond the threshold. A bias is 0 (a free one up to a common shift).

    Raises `ValueError` for λ <= 0, `NoClosedForm` naming the hypothesis that fails.
    """
    require_decay(problem, "a closed form")
    K, d = problem.labels.num_classes, problem.feature_dim
    for holds, needs in (
        (problem.depth == 1, f"M = 1 for labels that mix classes; got M={problem.depth}"),
        (problem.fixed_weights is None, "free weights (for fixed ones see ufm.fit_features and ufm.channels); got `fixed_weights`"),
        (problem.anchor is None, "features that are pulled to 0 only; got an `anchor`"),
    ):
        if not holds:
            raise NoClosedForm(f"needs {needs}")
    try:
        pairs = mixed_pairs(problem.labels)
    except ValueError as error:
        raise NoClosedForm(f"needs labels that are mixtures of two classes: {error}") from error
    targets, masses, index = merged_columns(
        np.asarray(problem.labels.targets, dtype=np.float64), np.asarray(problem.labels.masses, dtype=np.float64), one_hot=False
    )
    first_of = np.unique(index, return_index=True)[1]
    pairs = MixedPairs(first=pairs.first[first_of], second=pairs.second[first_of], lam=pairs.lam[first_of], other=pairs.other[first_of])
    rounding = max(1e-12, 8 * float(np.finfo(problem.dtype).eps))
    lam, weights, same = _common_law(K, pairs, masses, rounding)
    lambda_W, lambda_H = float(np.asarray(problem.lambda_W)[0]), float(np.asarray(problem.lambda_H))
    N = float(masses.sum())
    solved = solve_mixture(K, lam, weights / N, same_weight=same / N, lambda_W=lambda_W, decay=N * lambda_H)
    if not solved.trivial and d < K - 1:
        raise NoClosedForm(f"needs d >= K - 1, the rank of the convex optimum; got d={d}, K={K}")
    if len(masses) > _MOST_COLUMNS:
        raise NoClosedForm(
            f"needs at most {_MOST_COLUMNS} distinct labels, whose Gram matrix the optimum holds (ufm.mixup_optimum needs none); "
            f"got {len(masses)}"
        )
    logits = np.zeros_like(targets) if solved.trivial else _logits(K, pairs, solved.strength)
    quantities = _quantities(logits, masses, lambda_W, lambda_H)
    yardstick = _quantities(targets - 1 / K, masses, lambda_W, lambda_H)
    factors = yardstick["factor_singular_values"]
    sizes = {name: float(np.linalg.norm(yardstick[name])) for name in ("singular_values", "class_gram", "classifier_gram")}
    sizes |= {f"Gram spectrum {i}": float(np.linalg.norm(values**2)) for i, values in enumerate(factors)}
    sizes |= {"logits": float(np.linalg.norm(targets - 1 / K)), "features": float(np.linalg.norm(factors[-1])), "bias": 1.0}
    sizes["balance"] = float(lambda_H * np.linalg.norm(factors[-1] ** 2))
    bias = {None: "no bias", "free": "bias not penalised"}.get(problem.bias, f"bias penalised by λ_b = {problem.lambda_b}")
    return Optimum(
        value=solved.value,
        logits=logits,
        bias=np.zeros(K) if problem.has_bias else None,
        regime="trivial" if solved.trivial else "simplex ETF classifier, channels between classes",
        source=_SOURCE,
        hypotheses=("cross-entropy", "mixtures of two classes, all pairs and both orders alike", "M = 1", f"d = {d}", bias, "all λ > 0"),
        unique=True,
        column_index=index,
        masses=masses,
        sizes=sizes,
        **quantities,
    )


def _common_law(K: int, pairs: MixedPairs, masses: Floats, rounding: float) -> tuple[Floats, Floats, float]:
    """The law of λ that all pairs of classes share: λ and mass over all pairs (R,), and the mass of pure classes; or `NoClosedForm`."""
    pure = np.bincount(pairs.first[pairs.same], weights=masses[pairs.same], minlength=K)
    slack = rounding * masses.mean()
    if np.ptp(pure) > rounding * pure.max() + slack:
        raise NoClosedForm(f"needs balanced classes: equal masses of the pure labels; got {shown(pure)}")
    mixed = ~pairs.same
    number = (pairs.first * K + pairs.second)[mixed]
    order = np.lexsort((pairs.lam[mixed], number))
    names, counts = np.unique(number, return_counts=True)
    if len(names) != K * (K - 1) // 2 or np.ptp(counts) > 0:
        raise NoClosedForm(
            f"needs mixtures of all {K * (K - 1) // 2} pairs of classes, equally many; got {len(names)} with {shown(counts)}"
        )
    lam = pairs.lam[mixed][order].reshape(len(names), -1)
    weights = masses[mixed][order].reshape(len(names), -1)
    alike = np.all(np.ptp(lam, axis=0) <= rounding) and np.all(np.ptp(weights, axis=0) <= rounding * weights.max(axis=0) + slack)
    if not alike:
        raise NoClosedForm("needs balanced classes: the same λ with the same masses for every pair of classes; got pairs that differ")
    lam, weights = lam[0], weights[0]
    if np.max(np.abs(lam + lam[::-1] - 1)) > rounding or np.max(np.abs(weights - weights[::-1])) > rounding * weights.max() + slack:
        raise NoClosedForm("needs a law of λ that is symmetric under λ ↔ 1 − λ; got one that is not")
    return lam, weights * len(names), float(pure.sum())


def _logits(K: int, pairs: MixedPairs, strength: float) -> Floats:
    """Optimal logits (K, C')."""
    logits = np.zeros((K, len(pairs.lam)))
    same, columns = pairs.same, np.arange(len(pairs.lam))
    gap = float(same_class_gap(K, strength)) if same.any() else 0.0
    logits[:, same] = -gap / K
    logits[pairs.first[same], columns[same]] = gap - gap / K
    mixed = channel(K, pairs.lam[~same], strength=strength)
    own, other, rest = mixed.logits
    logits[:, ~same] = rest
    logits[pairs.first[~same], columns[~same]] = own
    logits[pairs.second[~same], columns[~same]] = other
    return logits


def _quantities(logits: Floats, masses: Floats, lambda_W: float, lambda_H: float) -> dict:
    """What an `Optimum` holds of logits Z with $Z D Z^T$ proportional to P, D the masses: K − 1 equal singular values."""
    K = len(logits)
    size = min(logits.shape)
    values = np.zeros(size)
    sigma = float(np.sqrt(masses @ np.sum(logits**2, axis=0) / (K - 1)))
    values[: K - 1] = sigma
    scale = np.sqrt(lambda_H / lambda_W) * sigma
    classifier_gram = scale * (np.eye(K) - 1 / K)
    class_gram = logits.T @ logits / (scale or 1.0)
    return {
        "singular_values": values,
        "class_gram": class_gram,
        "classifier_gram": classifier_gram,
        "factor_singular_values": np.sqrt(np.stack([scale * values / (sigma or 1.0), np.sqrt(lambda_W / lambda_H) * values])),
        "layer_grams": (class_gram,),
        "partial_classifier_grams": (classifier_gram,),
    }
