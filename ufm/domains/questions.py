"""The questions that `check_domain` puts to a domain."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from ufm._classes.inspection import Absent, Wrong
from ufm.domains.base import lengths
from ufm.domains.places import Places


def _shapes(at: Places):
    domain, point = at.domain, at.points[0]
    own = tuple(domain.coordinate_shape(at.shape))
    for name, array, wanted in (
        ("point", point, at.shape),
        ("chart", domain.chart(point, at.unit), own),
        ("retract", domain.retract(at.coordinates[0], at.unit), own),
        ("project", domain.project(at.vectors[0]), at.shape),
        ("start", domain.start(at.vectors[0]), at.shape),
    ):
        if np.shape(array) != wanted or array.dtype != at.masses.dtype:
            raise Wrong(
                f"`{name}` must give an array of shape {wanted} and dtype {at.masses.dtype}; got "
                f"{np.shape(array)} and {array.dtype}"
            )
    return iter(())


def _point(at: Places):
    for point in at.points:
        at.require_inside("what `point` gives", point, at.domain)
    return iter(())


def _project(at: Places):
    for vectors in at.vectors:
        at.require_inside("what `project` gives", at.domain.project(vectors), at.domain)
    projected = map(at.domain.project, at.points)
    yield from at.differences("`project` moves vectors of the domain", projected, at.points)


def _distance(at: Places):
    for vectors in at.vectors:
        moved = jnp.max(jnp.abs(at.domain.project(vectors) - vectors)) > at.rounding
        if moved and not at.off(vectors, at.domain):
            raise Wrong("`distance` must be > 0 of vectors that `project` moves")
    return iter(())


def _unit(at: Places):
    zero = jnp.zeros_like(at.decay)
    unit = at.domain.unit(zero if at.domain.compact else at.decay, at.masses / jnp.sum(at.masses))
    if not bool(jnp.all(unit > 0)):
        words = "`unit` must be > 0, of a `compact` domain also where the decay is 0"
        raise Wrong(f"{words}; got {np.min(unit):g}")
    return iter(())


def _chart(at: Places):
    back = (at.domain.point(at.domain.chart(p, at.unit), at.unit) for p in at.points)
    yield from at.differences("`point` of `chart` is another point", back, at.points)


def _retract(at: Places):
    points = [point for _, point in at.pairs]
    yield from at.differences("`point` of `retract` is another point", points, at.points)


def _start(at: Places):
    for vectors in at.vectors:
        at.require_inside("what `start` gives", at.domain.start(vectors), at.domain)
    return iter(())


def _redundant(at: Places):
    y = at.coordinates[1]
    slopes = np.asarray(jax.jacobian(lambda y: at.domain.point(y, at.unit))(y), np.float64)
    slopes = slopes.reshape(-1, y.size)
    if not np.all(np.isfinite(slopes)):
        raise Wrong("the slope of `point` is not finite")
    sizes = np.linalg.svd(slopes, compute_uv=False)
    still = y.size - int(np.sum(sizes > np.sqrt(at.rounding) * sizes[0]))
    said = at.domain.redundant(at.shape[1])
    if still != said:
        raise Wrong(
            f"`redundant` must be the {still} directions of coordinates that move no point; got "
            f"{said}"
        )
    return iter(())


def _spherical(at: Places):
    domain, unit = at.domain, at.unit
    if not domain.spherical:
        raise Absent("`spherical` is False: steps by general Newton methods")
    direction, slope = at.drawn(at.coordinates[0].shape), at.drawn(at.shape)
    for y, point in at.pairs:
        yield "`shadow` is not the point", domain.shadow(y, unit) - point, point
        (along, _), ahead = domain.tangent(y, unit, direction), direction
        _, moved = jax.jvp(lambda y: domain.point(y, unit), (y,), (ahead,))
        yield "`tangent` is not how the point moves", domain.shadow(along, unit) - moved, moved
    forth = jnp.sum(domain.shadow(direction, unit) * slope)
    back = jnp.sum(direction * domain.lifted(slope, unit))
    yield "`lifted` is not the transpose of `shadow`", forth - back, jnp.sum(jnp.abs(slope))


def _scaled(at: Places):
    if not at.domain.compact:
        raise Absent("`compact` is False: no search begins at smaller lengths")
    for factor in (0.3, 3.0):
        for point in at.points:
            words = f"{factor:g} times its vectors, for `scaled`,"
            at.require_inside(words, factor * point, at.domain.scaled(factor))
    return iter(())


def _isotropic(at: Places):
    if not at.domain.isotropic:
        raise Absent("`isotropic` is False: symmetric zeros of Hessians are not counted")
    turn, _ = np.linalg.qr(np.asarray(at.drawn((at.shape[0],) * 2)))
    if any(at.off(turn @ np.asarray(point), at.domain) for point in at.points):
        raise Wrong("turned vectors leave the domain, so `isotropic` must be False")
    return iter(())


def _means(at: Places):
    domain, masses = at.domain, np.asarray(at.masses)
    length = domain.common_length(at.masses)
    for point in map(np.asarray, at.points):
        if length is not None:
            longer = np.maximum(lengths(point) - length, 0)
            if domain.holds_means(at.masses):
                # (one budget holds longer vectors where others are shorter)
                longer = np.maximum(lengths(point) @ masses / masses.sum() - length, 0)
            yield "vectors are longer than `common_length`", longer, length
        if domain.holds_means(at.masses):
            mean = (point @ masses / masses.sum())[:, None]
            at.require_inside("means, for `holds_means`,", mean + 0 * point, domain)


def _smooth(at: Places):
    if not at.domain.smooth:
        raise Absent("`smooth` is False: no gradient flow, unless it is `walled`")
    u, v = at.drawn(at.shape), at.drawn(at.shape)
    for point in at.points:

        def along(direction, point=point):
            return jax.jvp(at.domain.project, (point,), (direction,))[1]

        once, other = along(v), along(u)
        yield "the slope of `project` is no projection", along(once) - once, once
        yield "the slope of `project` is not symmetric", jnp.sum(u * once - v * other), once.size


def _walled(at: Places):
    domain, velocity = at.domain, at.drawn(at.shape)
    if not domain.walled:
        raise Absent("`walled` is False: no gradient flow, unless it is `smooth`")
    for vectors in at.vectors:
        inside = domain.inside(vectors)
        at.require_inside("what `inside` gives", inside, domain)
        room = domain.room(inside)
        yield "`room` of what `inside` gives is < 0", jnp.minimum(room, 0), 1
        # every other piece, the first among them
        held = (jnp.arange(room.size) % 2 == 0).reshape(room.shape)
        on = domain.onto(inside, held)
        yield "`room` of what `onto` holds is not 0", jnp.where(held, domain.room(on), 0), 1
        _, rate = jax.jvp(domain.room, (on,), (velocity,))
        leaving = domain.leaving(on, velocity)
        words = "`leaving` is not half the rate at which `room` is used up"
        yield words, jnp.where(held, leaving + rate / 2, 0), rate
        slid = domain.sliding(on, velocity, held, at.masses)
        words = "what `sliding` leaves goes across the boundary"
        yield words, jnp.where(held, domain.leaving(on, slid), 0), leaving


def _multipliers(at: Places):
    for size, point in zip((0.1, 1.0, 10.0), at.points, strict=True):
        wanted = size * jnp.abs(at.drawn(at.shape[1:]))
        b = at.domain.curvature(wanted, at.decay)
        if b.shape != at.shape[1:]:
            raise Wrong(f"`curvature` must have shape {at.shape[1:]}; got {b.shape}")
        if at.domain.movable:
            words = "`movable` is for a `curvature` that is not below what is wanted"
            yield words, jnp.maximum(wanted - b, 0), wanted
        squares = jnp.sum(point**2, axis=0)
        least = jnp.dot(b, squares) / 2 - at.domain.allowance(b, at.decay)
        above = jnp.maximum(least - jnp.dot(at.decay, squares) / 2, 0)
        yield "`allowance` is less than `curvature` costs", above, jnp.dot(b, squares)


def _linear(at: Places):
    found = at.domain.linear(at.points[0], at.drawn(at.shape))
    if found is None:
        raise Absent("no `linear` constraints")
    L, level = found
    for point in at.points:
        off = jnp.sum(L * point) - level
        yield "`linear` is another number elsewhere", off, jnp.sum(jnp.abs(L * point))


def _signs(at: Places):
    slope, factor = at.drawn(at.shape), at.drawn((at.shape[1],) * 2)
    gram = factor + factor.T
    for point in at.points:
        more = jnp.sum((at.domain.facing(slope) - slope) * point)
        yield "`facing` is above the slope", jnp.maximum(more, 0), jnp.sum(jnp.abs(slope * point))
        products = point.T @ point
        less = jnp.sum((gram - at.domain.gram(gram)) * products)
        yield "`gram` is too small", jnp.maximum(less, 0), jnp.sum(jnp.abs(gram * products))


# what every solve rests on
NEEDED = (("shapes", _shapes), ("point", _point), ("project", _project), ("chart", _chart))
QUESTIONS = (
    *NEEDED,
    ("distance", _distance),
    ("unit", _unit),
    ("retract", _retract),
    ("start", _start),
    ("redundant", _redundant),
    ("spherical", _spherical),
    ("scaled", _scaled),
    ("isotropic", _isotropic),
    ("means", _means),
    ("smooth", _smooth),
    ("walled", _walled),
    ("multipliers", _multipliers),
    ("linear", _linear),
    ("signs", _signs),
)
