r"""Ways to share an exact dual point among losses of the same logits, for a proof.

Parts whose conjugates are finite on a simplex only need points v with $\sum_k v_k/\Delta_k = 0$
exactly, and the weighted sum of all is u exactly. Of two such parts with different scales a part
can give the other what it lacks: $\tau\Delta_i$ of class j for as much of class k leaves its own
sum and, as $\Delta_{ij}/\Delta_{fj} \ne \Delta_{ik}/\Delta_{fk}$, changes the other's. Where scales
are proportional an even share is in both domains.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

# exact fractions of flint, one a class; None for a part whose conjugate is finite everywhere
Scales = Sequence[list[Any] | None]


def common_scale(weights: Sequence[Any], scales: Scales) -> list[Any] | None:
    """$\\sum_i w_i\\Delta_i$ where all parts have one simplex, to rounding; None where they have
    several, or one is finite everywhere."""
    known = [scale for scale in scales if scale is not None]
    if len(known) < len(scales):
        return None
    for scale in known:
        ratios = [float(a / b) for a, b in zip(scale, known[0], strict=True)]
        if max(ratios) - min(ratios) > 2.0**-48 * max(ratios):
            return None
    return [sum(w * d for w, d in zip(weights, ds, strict=True)) for ds in zip(*known, strict=True)]


def ways(
    weights: Sequence[Any],
    scales: Scales,
    pulls: Sequence[list[Any]],
    dual: Sequence[Any],
    target: Sequence[Any],
) -> Iterator[list[list[Any]]]:
    """Points of every part with the weighted sum u, exactly, the best first.

    Parameters
    ----------
    weights, scales, pulls
        Of the parts: w, Δ and points v whose weighted sum is nearly u.
    dual, target
        u and q of one column.

    Yields
    ------
    list
        A point (K,) for each part, not always in its domain.
    """
    n = len(pulls)
    shares = [
        pull if scale is None else _summing_to_zero(pull, scale, target)
        for pull, scale in zip(pulls, scales, strict=True)
    ]
    # whichever part may take what is left
    for free in sorted(range(n), key=lambda i: scales[i] is not None):
        left = [
            (x - sum(weights[i] * shares[i][k] for i in range(n) if i != free)) / weights[free]
            for k, x in enumerate(dual)
        ]
        points = [left if i == free else shares[i] for i in range(n)]
        if scales[free] is not None:
            points = _closed(weights, scales, points, free, target)
        yield points
    total = common_scale(weights, scales)
    if total is not None:
        mix = [u / t for u, t in zip(dual, total, strict=True)]
        yield [[d * m for d, m in zip(scale or (), mix, strict=True)] for scale in scales]


def _closed(
    weights: Sequence[Any],
    scales: Scales,
    points: list[list[Any]],
    free: int,
    target: Sequence[Any],
) -> list[list[Any]]:
    """The points with Σ v/Δ = 0 for the part that took what was left, by help of another.

    As they are where no other has a simplex, or the same one.
    """
    own = scales[free]
    assert own is not None
    lack = -sum(v / d for v, d in zip(points[free], own, strict=True))
    if lack == 0:
        return points
    best: tuple[float, Any] = (0.0, None)
    for i, scale in enumerate(scales):
        if i == free or scale is None:
            continue
        # what a unit of a class's share of part i is in part f, and how much there is to give
        rates = [weights[i] * d / (weights[free] * e) for d, e in zip(scale, own, strict=True)]
        giving = _shares(points[i], scale, target)
        taking = _shares(points[free], own, target)
        floats = [float(rate) for rate in rates]
        room = [min(a, b / r) for a, b, r in zip(giving, taking, floats, strict=True)]
        for j in range(len(own)):
            for k in range(j):
                reach = abs(floats[j] - floats[k]) * min(room[j], room[k])
                if reach > best[0]:
                    best = (reach, (i, j, k, rates[j] - rates[k]))
    if best[1] is None:
        return points
    i, j, k, rate = best[1]
    # part i gains τ Δ at class j and loses it at class k, part f the reverse
    tau, scale = -lack / rate, scales[i]
    assert scale is not None
    points = [list(point) for point in points]
    for at, moved in ((j, tau * scale[j]), (k, -tau * scale[k])):
        points[i][at] += moved
        points[free][at] -= weights[i] * moved / weights[free]
    return points


def _shares(point: list[Any], scale: list[Any], target: Sequence[Any]) -> list[float]:
    """q + v/Δ, of which none may fall below 0."""
    return [float(q + v / d) for q, v, d in zip(target, point, scale, strict=True)]


def _summing_to_zero(pull: list[Any], scale: list[Any], target: Sequence[Any]) -> list[Any]:
    """v with Σ v/Δ = 0 exactly and no share below 0: the class of the largest point makes up for
    rounding."""
    inner = [max(v / d, -q) for v, d, q in zip(pull, scale, target, strict=True)]
    largest = max(range(len(inner)), key=lambda k: inner[k] + target[k])
    inner[largest] -= sum(inner)
    return [d * v for v, d in zip(inner, scale, strict=True)]
