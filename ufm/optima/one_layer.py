r"""From the product W H of one linear layer, a column a class or a target, to everything an
`Optimum` holds.

For M = 1 the decay is, at best, $\sqrt{\lambda_W\lambda_H}\,\|W H\,\mathrm{diag}(\sqrt m)\|_*$,
with balanced factors: the product decides every Gram.
"""

from __future__ import annotations

import numpy as np

from ufm.optima.facts import Facts
from ufm.optima.hypotheses import room
from ufm.optima.optimum import NoClosedForm, Optimum
from ufm.optima.words import shown

# Singular values below this, relative to the largest, are rounding of the SVD: their square roots
# would not be.
_RANK = 1e-13


def product_optimum(
    facts: Facts,
    product: np.ndarray,
    *,
    value: float,
    regime: str,
    source: str,
    loss: str,
    bias: np.ndarray | None = None,
    unique: bool = True,
    ratio: float | None = None,
) -> Optimum:
    """The optimum of a one-layer problem whose product W H̄ is given.

    Parameters
    ----------
    facts
        Of the problem.
    product
        (K, C'), one column each of `Facts.columns`.
    value
        The objective there.
    regime, source, unique
        As in `Optimum`.
    loss
        Its name.
    bias
        (K,); zero in a problem that has one, unless given.
    ratio
        Of the squared singular values of W to those of the product; what decay makes it unless
        given.

    Returns
    -------
    Optimum
        With balanced factors.

    Raises
    ------
    NoClosedForm
        When the rank of the product exceeds d.
    """
    columns = facts.columns
    bias = facts.zero_bias if bias is None else bias
    ratio = float(np.sqrt(facts.lambda_H / facts.lambda_W[0])) if ratio is None else ratio
    quantities = _quantities(facts, product, ratio)
    fits = room(facts, int(np.sum(quantities["singular_values"] > 0)))
    if not fits.holds:
        raise NoClosedForm(str(fits))
    # logits have no target under a log loss: margins of one are the yardstick
    margins = np.eye(facts.K)[:, np.argmax(columns.targets, axis=0)] - 1 / facts.K
    yardstick, size = _quantities(facts, margins, ratio), float(np.sqrt(facts.K - 1))
    sizes = sizes_of(yardstick, logits=size, lambda_H=facts.lambda_H)
    return Optimum(
        value=value,
        logits=product if bias is None else product + bias[:, None],
        bias=bias,
        unique=unique,
        column_index=columns.index,
        masses=columns.masses,
        sizes=sizes,
        regime=regime,
        source=source,
        hypotheses=_words(facts, loss),
        **quantities,
    )


def sizes_of(yardstick: dict, *, logits: float, lambda_H: float) -> dict[str, float]:
    """Sizes of quantities whose prediction may be zero.

    Parameters
    ----------
    yardstick
        The quantities of a point with factors of natural size.
    logits
        The size of logits, which have no natural one under a log loss.
    lambda_H
        Decay of the features, for the balance.

    Returns
    -------
    dict[str, float]
        By the names that `compare` knows.
    """
    factors = yardstick["factor_singular_values"]
    sizes = {
        name: float(np.linalg.norm(yardstick[name]))
        for name in ("singular_values", "class_gram", "classifier_gram")
    }
    sizes |= {
        f"Gram spectrum {i}": float(np.linalg.norm(values**2)) for i, values in enumerate(factors)
    }
    sizes |= {"logits": logits, "features": float(np.linalg.norm(factors[-1])), "bias": 1.0}
    return sizes | {"balance": float(lambda_H * np.linalg.norm(factors[-1] ** 2))}


def _words(facts: Facts, loss: str) -> tuple[str, ...]:
    """What an optimum of this problem rests on, in words."""
    kind = "balanced" if facts.balanced else "imbalanced"
    smoothing = facts.smoothing
    labels = (
        "soft labels"
        if smoothing is None
        else f"labels smoothed by {smoothing:g}"
        if smoothing
        else "one-hot labels"
    )
    counts = (
        f"{labels}, {kind}, class counts {shown(facts.classes.masses)}"
        if facts.one_target_per_class
        else f"{labels}, {len(facts.columns.masses)} targets"
    )
    held = facts.domain_words or "all λ > 0"
    return (loss, counts, "M = 1", f"d = {facts.feature_dim}", facts.bias_words, held)


def _quantities(facts: Facts, product: np.ndarray, ratio: float) -> dict:
    root = np.sqrt(facts.columns.masses)
    left, s, right = np.linalg.svd(product * root, full_matrices=False)
    s = np.where(s > _RANK * s[0], s, 0.0)
    # under decay balance: λ_W σ(W)² = λ_H σ(H)² = √(λ_W λ_H) s
    squares = np.stack([ratio * s, s / ratio])
    classifier_gram = (left * squares[0]) @ left.T
    bare = right.T / root[:, None]
    class_gram = (bare * squares[1]) @ bare.T
    return {
        "singular_values": s,
        "class_gram": class_gram,
        "classifier_gram": classifier_gram,
        "factor_singular_values": np.sqrt(squares),
        "layer_grams": (class_gram,),
        "partial_classifier_grams": (classifier_gram,),
    }
