"""Verify what `ufm.prove(problem, params).save(FILE)` wrote: `python check_enclosure.py FILE`.

Without ufm: exact fractions (NumPy only holds them) and mpmath's intervals. See `docs/proofs.md`.

The value at the point, brought into its domains, is below the upper end; the conjugates at the dual
point, the cost of multipliers that the domains allow and a form shown to be positive put the lower.
All is computed from the problem. An inequality without loss, domains, map, offsets and bias would
be half as long and leave to whoever wrote the file whether it is about the problem.
"""

import functools
import json
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
from mpmath import iv


def claim(holds, otherwise):
    """Else the file proves nothing, and the exit status is 1."""
    if not holds:
        raise SystemExit(f"NOT proved: {otherwise}")


def parts(x, wanted, otherwise=""):
    """A part of a file that has these entries, perhaps some further ones, and no other."""
    needed = set(wanted.split())
    known = isinstance(x, dict) and needed <= set(x) <= needed | set(otherwise.split())
    claim(known, f"this knows what has {wanted}, not {x if isinstance(x, str) else list(x or ())}")
    return x


def number(x):
    """Whether it is one: JSON has no infinity, and true is none."""
    return isinstance(x, int | float) and not isinstance(x, bool) and abs(x) < float("inf")


def fraction(x):
    """A float, or a fraction in a string, as the fraction that it is."""
    claim(number(x) or isinstance(x, str | Fraction), f"{x!r} is no number")
    return Fraction(x)


def exact(x):
    """An array of them."""
    return np.vectorize(fraction, otypes=[object])(np.array(x, dtype=object))


def interval(x):
    """A fraction, rounded outward."""
    return iv.mpf(x.numerator) / iv.mpf(x.denominator)


intervals = np.vectorize(interval, otypes=[object])
roots = np.vectorize(iv.sqrt, otypes=[object])
nearly = np.vectorize(lambda x: Fraction(float(x.mid)), otypes=[object])


def integers(x):
    """An array of binary fractions as integers over one power of two."""
    grid = max(entry.denominator for entry in x.flat)
    return np.vectorize(int, otypes=[object])(x * grid), grid


def product(A, B):
    """Of binary fractions, exactly."""
    (A, unit), (B, other) = integers(A), integers(B)
    return A @ B * Fraction(1, unit * other)


def softmax(loss, q, a, x, z):
    """Weighted dual logits y; a times the losses at z, and a times the conjugates, summed."""
    scale = exact(loss.get("multiplicative", [1] * len(q)))[:, None]
    shift = exact(loss.get("additive", [0] * len(q)))[:, None]
    u, totals = x - a * q, q.sum(axis=0)
    claim(scale.min() > 0 and q.min() >= 0 <= x.min() and not any(u.sum(axis=0)), "bad shares")
    z = intervals(scale) * z + intervals(shift)
    below = z - intervals(nearly(z).max(axis=0))
    sums = [iv.log(sum(map(iv.exp, column))) for column in below.T]
    values = sum(interval(w) * s for w, s in zip(a * totals, sums, strict=True))
    pairs = zip(x.flat, (x / a).flat, strict=True)
    logs = sum(interval(p) * iv.log(interval(share)) for p, share in pairs if p)
    logs -= sum(interval(w * s) * iv.log(interval(s)) for w, s in zip(a, totals, strict=True))
    return scale * u, values - (intervals(a * q) * below).sum(), logs - interval((shift * u).sum())


def squared(loss, q, a, y, z):
    """The same for squared errors, whose y is in the file as it is."""
    weights = 1 + (fraction(loss.get("weight", 1)) - 1) * q
    wanted = fraction(loss.get("length", 1)) * q
    claim(weights.min() > 0, "a loss that is not convex")
    conjugates = y**2 / (2 * a * weights) + wanted * y
    errors = intervals(a * weights / 2) * (z - intervals(wanted)) ** 2
    return y, errors.sum(), interval(conjugates.sum())


def placed(vectors, domain, decay, b):
    """By what vectors are multiplied to lie in their domain, and what its multipliers b cost."""
    name, squares, one = domain["name"], (vectors**2).sum(axis=0), Fraction(1)
    claim(name in DOMAINS, f"this knows {', '.join(DOMAINS)}, not {name}")
    parts(domain, "name " + DOMAINS[name])
    radius = exact(domain.get("radius", 1)) + 0 * squares
    v, energy = exact(domain.get("weights", 1)) + 0 * squares, fraction(domain.get("energy", 1))
    fits = b.shape == decay.shape == squares.shape == radius.shape == v.shape
    claim(fits and min(*b, *v, *radius, energy) > 0, "domains or multipliers that are not > 0")
    size, cost = one + 0 * squares, ((b - decay) * radius**2).sum() / 2
    if name in ("real", "nonnegative"):
        claim(not any(b - decay), "multipliers that are not the decay")
        claim(name == "real" or vectors.min() >= 0, "features that are negative")
    elif name == "budget":
        claim(len(set((b - decay) / v)) == 1 and b[0] >= decay[0], "not one multiplier")
        size, cost = size * energy / max(v @ squares, energy), energy * (b - decay)[0] / v[0] / 2
    elif name == "ball":
        claim(min(b - decay) >= 0, "multipliers below the decay")
        size = radius**2 / np.maximum(squares, radius**2)
    else:
        size = radius**2 / squares
    return roots(intervals(size)), cost


def quadratic(H, V, L, a, b, room, nonnegative):
    """What the features H leave of the bound, where L pulls them."""
    gram = V.T @ (V / a[:, None])
    if nonnegative:
        gram = np.where(np.eye(len(b), dtype=bool), gram, np.maximum(gram, 0))
    curved = H * b - H @ gram
    faced = np.minimum(curved + L, 0) if nonnegative else curved + L
    return ((faced - curved / 2) * H).sum() - (faced**2 / b).sum() / (2 * room)


def small(y, a, b, room, nonnegative, total, Q):
    """Whether a (1 − room) − V diag(1/b) V' is positive, or of nonnegative features the like."""
    y, grid = integers(y)
    if nonnegative:
        y, a, b = y.T, b, a
    one = 1 << 1300 + int(b.max()).bit_length()
    # rounded down and up
    N = a * (1 - room) * (total * grid) ** 2 * one // 1
    return positive(N, (y * -(-one // b)) @ y.T, nonnegative, Q)


def positive(N, R, nonnegative, Q):
    """Whether diag(N) − R is, whose congruent X decides the sign."""
    if Q.shape != R.shape:
        return False
    if nonnegative:
        R = np.where(np.eye(len(R), dtype=bool), R, np.maximum(R, 0))
    X = Q.T @ (np.diag(N) - R) @ Q
    return all(2 * np.diag(X) > abs(X).sum(axis=1))


# what belongs to each
DOMAINS = {"real": "", "nonnegative": "", "sphere": "radius", "ball": "radius"}
DOMAINS |= {"budget": "energy weights"}
LOSSES = {
    "CrossEntropy": (softmax, ""),
    "AdjustedCrossEntropy": (softmax, "multiplicative additive"),
}
LOSSES |= {"MeanSquaredError": (squared, ""), "RescaledSquaredError": (squared, "length weight")}


def verify(data):
    """The two ends of a file, if they hold."""
    try:
        return ends(data)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        claim(False, f"what cannot be computed, {error!r}")


def ends(data):
    """The same, where all entries are of the kind that they should be."""
    parts(data, "lower upper problem point dual multipliers witness")
    problem, point, dual, given = data["problem"], data["point"], data["dual"], data["multipliers"]
    parts(point, "W H b"), parts(dual, "exponent entries"), parts(given, "rows columns room")
    wanted = "loss targets masses weights lambda_W lambda_H bias features classifier anchor beta"
    parts(problem, wanted, "offsets map")
    claim(type(dual["exponent"]) is int and dual["exponent"] >= 0, "a grid that is none")
    iv.prec = 200 + dual["exponent"]
    lambda_W, lambda_H = exact(problem["lambda_W"]), fraction(problem["lambda_H"])
    beta, frozen = fraction(problem["beta"] or 0), problem["classifier"] == "frozen"
    m, loss = exact(problem["masses"]), problem["loss"]
    claim(loss["name"] in LOSSES, f"this knows {', '.join(LOSSES)}, not {loss['name']}")
    family, parameters = LOSSES[loss["name"]]
    parts(loss, "name " + parameters)
    a = m if problem["weights"] is None else m * exact(problem["weights"])
    claim(min(*m, *a) > 0 <= min(*lambda_W, lambda_H, beta), "masses, weights or decay below 0")
    q, total, bias = exact(problem["targets"]), a.sum(), problem["bias"]
    weights, H, b = (
        [exact(W) for W in point["W"]],
        exact(point["H"]),
        exact(point["b"] or [0] * len(q)),
    )
    offsets = problem.get("offsets") or 0 * q
    # a class that a column drops has no target and no dual; so low a logit is no lower value
    dropped = np.equal(np.array(offsets, dtype=object), None)
    offsets = exact(np.where(dropped, 0, offsets))
    W, x = functools.reduce(product, weights), exact(dual["entries"]) / 2 ** dual["exponent"]
    fits = x.shape == q.shape == (len(W), *m.shape) and b.shape == (len(q),) and len(a) == len(m)
    claim(fits and len(weights) == len(lambda_W) and frozen | (len(weights) == 1), "arrays")
    # the point, which lies in the domains
    rows, columns, room = given["rows"], exact(given["columns"]), fraction(given["room"])
    held, domain = (lambda_H + beta) * m, problem["features"]
    nonnegative = domain["name"] == "nonnegative"
    the_map = {} if problem.get("map") is None else problem["map"]
    if the_map != {}:
        parts(
            the_map, "name temperature nonnegative" if "temperature" in the_map else "name operator"
        )
    tau, unit = fraction(the_map.get("temperature", 0)), the_map.get("nonnegative", False)
    claim(isinstance(unit, bool) and tau >= 0, "a tied map that is none")
    claim(tau == 0 or (tau > 0 == beta and frozen), "a tied map with weights or an anchor")
    if unit:
        # embeddings are the squares of features, at length 1
        claim(tau > 0 == lambda_H, "lengths that cost something and say nothing")
        H, domain, nonnegative = H**2, {"name": "sphere", "radius": 1}, True
    sizes, cost = placed(H, domain, held, columns)
    decays = sum(lam * (each**2).sum() for lam, each in zip(lambda_W, weights, strict=True))
    rows_sizes, kept, decays = 1, decays / 2, interval(decays)
    if not frozen:
        rows, outer = exact(rows), lambda_W[0] + 0 * exact([0] * len(q))
        rows_sizes, kept = placed(W.T, problem["classifier"], outer, rows)
        rows_sizes, cost, kept = rows_sizes[:, None], cost + kept, 0
        decays = (intervals(lambda_W[0] * (W**2)) * rows_sizes**2).sum()
    # logits of a right operator are W H A, of a tied map a Gram of embeddings
    A = exact(the_map["operator"]) if "operator" in the_map else None
    z = intervals(product(W, H)) * rows_sizes * sizes[None, :]
    z = z if A is None else z @ intervals(A)
    if tau:
        X = intervals(H) * sizes[None, :]
        z = X.T @ X / interval(tau)
    z = z + intervals(b)[:, None]
    z = intervals(np.where(dropped, Fraction(-(10**9)), offsets)) + z
    y, values, conjugates = family(loss, q, a, x, z)
    claim(offsets.shape == q.shape and not any(np.append(q[dropped], y[dropped])), "offsets")
    conjugates -= interval((offsets * y).sum())
    pulled = problem["anchor"] is not None
    anchor = exact(problem["anchor"]) if pulled else 0 * H
    fits = anchor.shape == H.shape and pulled == (problem["beta"] is not None)
    claim(fits, "an anchor that does not fit")
    decays += (intervals(lambda_H * (H**2 * m)) * sizes**2).sum()
    decays += (intervals(beta * m) * (intervals(H) * sizes - intervals(anchor)) ** 2).sum()
    # the bound
    mean, y = y.sum(axis=1) / total, y if A is None else product(y, A.T)
    V, L, lack = y / total, -beta * m * anchor, Fraction(0)
    if tau:
        Y, grid = integers(y)
        one = 1 << 1300
        N, Q = columns * tau * total * grid * one // 1, integers(exact(data["witness"]))[0]
        claim(positive(N, -(Y + Y.T) * one, nonnegative, Q), "a Gram not shown to be positive")
    elif frozen:
        slope = W.T @ V + L
        slope = np.minimum(slope, 0) if nonnegative else slope
        kept -= (slope**2 / (2 * columns)).sum()
    else:
        claim(0 <= room < 1 and (room > 0 or not beta), "no room")
        Q, _ = integers(exact(data["witness"]))
        # of nonnegative features nothing need be dropped, but where they are pulled
        drops = {nonnegative, nonnegative and beta > 0}
        shown = any(small(y, rows, columns, room, each, total, Q) for each in drops)
        claim(shown, "a norm not shown to be small")
        kept = quadratic(H, V, L, rows, columns, room, nonnegative) if beta else 0
    kept += beta * (m * anchor**2).sum() / 2
    if number(bias):
        claim(bias > 0, "a penalty that is not positive")
        decays += interval(fraction(bias) * (b**2).sum())
        lack = (mean**2).sum() / fraction(bias)
    else:
        claim(bias in (None, "free"), f"a bias that is {bias!r}")
        claim(not any(mean if bias == "free" else b), "a dual point or a bias that is not allowed")
    upper = values / interval(total) + decays / 2
    lower = interval(kept - cost - lack / 2) - conjugates / interval(total)
    # (an infinite end is null, and claims nothing)
    low, high = data["lower"], data["upper"]
    claim(all(x is None or number(x) for x in (low, high)), "ends that are no numbers")
    claim(low is None or iv.mpf(low) <= lower, f"below {low}: {lower}")
    claim(high is None or upper <= iv.mpf(high), f"above {high}: {upper}")
    return (
        f"{'-inf' if low is None else low} <= global minimum <= {'inf' if high is None else high}"
    )


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(f"{name}: verified, {verify(json.loads(Path(name).read_text(encoding='utf-8')))}")
