r"""Ways to share a dual point among losses of the same logits, and Newton column by column.

Parts whose conjugates are finite on a simplex only, $v_i = \Delta_i(p_i - q)$, are given points of
it to rounding in every entry: one that is below 0 by what is rounding of another entry would put
the conjugate too low, by that times its logit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ufm.losses.base import AbstractLoss
from ufm.losses.derivative import loss_and_dual

_STEPS = 100
# by how much logits may grow in a step, relative to the largest and 1
_FARTHER = 2.0
# parts of a Newton step that are tried where the whole of it does not halve the residual, the last
# where nothing is lower
_LENGTHS = (1.0, 0.5, 0.25, 0.1, 0.03, 0.01, 1e-3, 0.0)


def ways(
    weights: Sequence[Array],
    scales: Sequence[Array],
    pulls: Sequence[Array],
    dual: Float[Array, "K ..."],
    targets: Float[Array, "K ..."],
) -> list[Array]:
    """Points of every part with the weighted sum u: its pull scaled, and moved, or an even share.

    Parameters
    ----------
    weights, scales, pulls
        Of the parts: w, Δ and points v whose weighted sum is nearly u.
    dual, targets
        u and q.

    Returns
    -------
    list
        Of each part its points, for each way one after another, NaN where there is none.
    """
    parts = list(zip(weights, scales, strict=True))
    total = sum(w * s for w, s in parts)
    # Δ p of the sum and p of the parts, with all digits where targets are 0
    aim = jnp.maximum(dual + total * targets, 0)
    points = [jnp.maximum(v / s + targets, 0) for v, s in zip(pulls, scales, strict=True)]
    mix, even = aim / total, _proportional(scales)
    reached = sum(w * s * p for (w, s), p in zip(parts, points, strict=True))
    turn = aim / jnp.where(reached > 0, reached, 1)
    turned = [jnp.where(reached > 0, turn * point, mix) for point in points]
    # what a part is off a sum of one is taken evenly, where that leaves the weighted sum
    off = [jnp.where(even, jnp.sum(p - targets, axis=0, keepdims=True), 0) for p in turned]
    found = [
        jnp.stack([p - o * mix, point + (aim - reached) / total, jnp.where(even, mix, jnp.nan)])
        for p, o, point in zip(turned, off, points, strict=True)
    ]
    # (what that amounts to is known, see `rounding_of_shares`)
    slack = 32 * float(jnp.finfo(aim.dtype).eps)

    def inside(p):
        low = jnp.any(p < -slack * mix, axis=0, keepdims=True)
        off = jnp.abs(jnp.sum(p - targets, axis=0, keepdims=True)) > slack * len(p)
        return jnp.where(low | off, jnp.nan, jnp.maximum(p, 0)) - targets

    return [
        jax.vmap(lambda p, s=s: s * inside(p))(each) for s, each in zip(scales, found, strict=True)
    ]


def _proportional(scales: Sequence[Array]) -> Array:
    """Whether an even share of the dual point is in the domain of every part: its points v have
    Σ v/Δ = 0, with the Δ of the part."""
    ratios = [scale / scales[0] for scale in scales]
    eps = float(jnp.finfo(scales[0].dtype).eps)
    return jnp.all(jnp.stack([jnp.ptp(r) <= 8 * eps * jnp.max(r) for r in ratios]))


def logits_of(
    loss: AbstractLoss, dual: Float[Array, "K ..."], targets: Float[Array, "K ..."]
) -> Float[Array, "K ..."]:
    """Where ∇ℓ(z) = u in every column, or as near to it as Newton comes.

    Parameters
    ----------
    loss
        Any.
    dual, targets
        u and q, one sample a column.

    Returns
    -------
    Float[Array, "K ..."]
        The logits z, which are the slopes of the conjugate at u.
    """

    def both(logits):
        losses, pulls = loss_and_dual(loss, logits, targets)
        return losses - jnp.sum(dual * logits, axis=0), pulls - dual

    return newton(both, jnp.zeros_like(dual))


def pulls_at(
    parts: Sequence[AbstractLoss], logits: Float[Array, "K ..."], targets: Float[Array, "K ..."]
) -> list[Float[Array, "K ..."]]:
    """∇ℓ_i(z) of the parts.

    Parameters
    ----------
    parts
        What a sum is made of.
    logits, targets
        z and q, one sample a column.

    Returns
    -------
    list
        One array of the shape of z for each part.
    """
    return [loss_and_dual(part, logits, targets)[1] for part in parts]


def rounding_of_shares(
    weights: Sequence[Array],
    points: Sequence[Array],
    scales: Sequence[Array | None],
    logits: Float[Array, "K ..."],
    dual: Float[Array, "K ..."],
    targets: Float[Array, "K ..."],
) -> Float[Array, ...]:
    """What the conjugate can be too low by, as the weighted sum of points is u to rounding alone,
    and each of them in its domain.

    A conjugate moves by its slope, and that is as large as the logits: where scales are nearly
    proportional and a bias is free, thousands. There logits of millions have the slopes of small
    ones, so that what those move is not all: parts would have to exchange shares, see `_exchange`.

    Parameters
    ----------
    weights, points, scales
        Of the parts: w, the points v, and Δ where there is one.
    logits, dual, targets
        z from `logits_of`, u and q.

    Returns
    -------
    Float[Array, ...]
        Of every sample, >= 0.
    """
    eps, slopes = float(jnp.finfo(logits.dtype).eps), jnp.abs(logits)
    parts = list(zip(weights, points, scales, strict=True))
    missed = jnp.abs(dual - sum(w * v for w, v, _ in parts))
    sizes = sum(w * (jnp.abs(v) + (0 if s is None else s)) for w, v, s in parts)
    off = jnp.sum(slopes * (missed + (len(parts) + 2) * eps * sizes), axis=0)
    added = (len(parts) + 2) * eps * sum(w * jnp.abs(v) for w, v, _ in parts)
    lack = jnp.sum(missed + added, axis=0)
    for w, v, s in parts:
        if s is not None:
            shares = v / s
            outside = jnp.abs(jnp.sum(shares, axis=0))
            off = off + jnp.max(w * s * slopes, axis=0) * (outside + len(v) * eps)
            outside = outside + len(v) * eps * jnp.sum(jnp.abs(shares), axis=0)
            lack = lack + jnp.max(w * s, axis=0) * outside
    known = [s for s in scales if s is not None]
    if len(known) == len(parts) > 1:
        triples = zip(weights, points, known, strict=True)
        rated = [(w, s, targets + v / s) for w, v, s in triples]
        pairs = [_exchange(a, b, lack) for i, a in enumerate(rated) for b in rated[:i]]
        cost = jnp.min(jnp.stack(pairs), axis=0)
        off = off + jnp.where(_proportional(known), 0, cost)
    # (the logits that Newton finds are not the last word)
    return jnp.where(jnp.isfinite(off), 2 * off, jnp.inf)


def _exchange(
    one: tuple[Array, Array, Array], other: tuple[Array, Array, Array], lack: Float[Array, ...]
) -> Float[Array, ...]:
    """What it costs beyond first order that two parts, of w, Δ and shares p, exchange between two
    classes what shares lack of sums of one and of u; +∞ where shares are too small for it.

    With $a = 1/(w\\Delta)$ and b of the other part, a move of $m_j$ and $m_k$ from one to the other
    is $a_jm_j + a_km_k$ in the sum of shares of one, and with b in that of the other: both can be
    what is lacked where $a_jb_k \\ne a_kb_j$, the more so the better.
    """
    (w, s, p), (v, t, r) = one, other
    a, b = (jnp.broadcast_to(1 / x, p.shape) for x in (w * s, v * t))
    room = jnp.minimum(p / a, r / b)

    def at(k, array):
        return jnp.take_along_axis(array, k, axis=0)

    # the class of most room, and the best one beside it: as good as half the best of all pairs
    j = jnp.argmax(room, axis=0)[None]
    cross, back = at(j, a) * b, a * at(j, b)
    apart = jnp.maximum(jnp.abs(cross - back) - 8 * float(jnp.finfo(p.dtype).eps) * cross, 0)
    k = jnp.argmax(apart * room, axis=0)[None]
    lacks = jnp.max(a, axis=0) * lack, jnp.max(b, axis=0) * lack
    total, fits = jnp.zeros_like(lack), at(k, apart)[0] > 0
    for here, there in ((j, k), (k, j)):
        moved = (lacks[0] * at(there, b)[0] + lacks[1] * at(there, a)[0]) / at(k, apart)[0]
        fits = fits & (moved <= at(here, room)[0] / 2)
        for weight, rate, share in ((w, a, p), (v, b, r)):
            # a logarithm moves by no more than 2 d / p
            total = total + 2 * (at(here, rate)[0] * moved) ** 2 / at(here, share)[0] * weight[0]
    return jnp.where(fits, total, jnp.inf)


def newton(
    function: Callable[[Array], tuple[Array, Array]], start: Float[Array, "K ..."]
) -> Float[Array, "K ..."]:
    """The minimum of a convex function of each column, until rounding stops it.

    It is traced twice, once for its values and once for its curvature.

    Parameters
    ----------
    function
        From an array to the values of its columns, one number each, and their slopes.
    start
        (K, ...).

    Returns
    -------
    Float[Array, "K ..."]
        Where it ended.
    """
    K, eps = len(start), float(jnp.finfo(start.dtype).eps)
    axes = (1,) * (start.ndim - 1)
    units = jnp.eye(K, dtype=start.dtype)
    lengths = jnp.asarray(_LENGTHS, start.dtype).reshape(-1, 1, *axes)

    def norm(columns):
        return jnp.sqrt(jnp.sum(columns**2, axis=0))

    def step_of(point, slope):

        def along(unit):
            direction = jnp.broadcast_to(unit, point.shape)
            return jax.jvp(lambda x: function(x)[1], (point,), (direction,))[1]

        hessian = jnp.moveaxis(jax.lax.map(along, units.reshape(K, K, *axes)), (0, 1), (-2, -1))
        trace = jnp.trace(hessian, axis1=-2, axis2=-1)
        # flat directions have no slope either, but where all is flat to rounding: a finite step
        least = float(jnp.finfo(start.dtype).tiny) * (1 + norm(slope))
        ridge = eps * trace + 1e-3 * jnp.minimum(norm(slope), trace) ** 2 + least
        ridged = hessian + ridge[..., None, None] * units.reshape(*axes, K, K)
        solved = jnp.linalg.solve(ridged, jnp.moveaxis(slope, 0, -1)[..., None])[..., 0]
        step = -jnp.moveaxis(solved, -1, 0)
        # where probabilities are 0 and 1 to rounding nothing is curved, and a whole step is no step
        reach = _FARTHER * (1 + jnp.max(jnp.abs(point), axis=0, keepdims=True))
        size = jnp.max(jnp.abs(step), axis=0, keepdims=True)
        return step * jnp.minimum(1, reach / jnp.where(size > 0, size, 1))

    def body(state):
        point, slope, steps, _ = state
        fresh = steps == 0
        step = jnp.where(fresh, 0, step_of(point, slope))
        tried = point[None] + lengths * step[None]
        values, slopes = jax.vmap(function)(tried)
        values = jnp.where(jnp.isfinite(values), values, jnp.inf)
        halves = (norm(slopes[0]) <= 0.5 * norm(slope)) & ~fresh
        best = jnp.argmin(values, axis=0)
        lower = jnp.min(values, axis=0) < values[-1]
        chosen = jnp.where(halves, 0, jnp.where(lower, best, len(_LENGTHS) - 1))[None, None]
        moved, after = (jnp.take_along_axis(x, chosen, axis=0)[0] for x in (tried, slopes))
        return moved, after, steps + 1, fresh | jnp.any(halves | lower)

    def running(state):
        _, slope, steps, moving = state
        unsolved = jnp.max(norm(slope)) > eps / 4
        return moving & (steps <= _STEPS) & (unsolved | (steps == 0))

    # the first step stays, and finds the slope
    first = (start, jnp.zeros_like(start), jnp.asarray(0), jnp.asarray(True))
    return jax.lax.while_loop(running, body, first)[0]
