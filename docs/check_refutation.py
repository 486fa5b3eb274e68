"""`python check_refutation.py FILE`: verify what `theory_checks --prove --counterexamples` wrote.

Without ufm: exact fractions (NumPy only holds them) and mpmath's intervals. See `docs/proofs.md`.
"""

import sys
from fractions import Fraction

import numpy as np
from mpmath import iv


def claim(holds, otherwise):
    """Else the file proves nothing, and the exit status is 1."""
    if not holds:
        raise SystemExit(f"NOT proved: {otherwise}")


def interval(x):
    """A fraction, rounded outward."""
    return iv.mpf(x.numerator) / iv.mpf(x.denominator)


def entropy(z, q):
    """Cross-entropy of logits in intervals, None for a class that is dropped, and the shares."""
    kept = [k for k, entry in enumerate(z) if entry is not None]
    top = max((z[k].mid for k in kept), key=float)
    powers = {k: iv.exp(z[k] - top) for k in kept}
    total, own = sum(powers.values()), sum(interval(q[k]) * (z[k] - top) for k in kept if q[k])
    shares = [powers[k] / total if k in powers else iv.mpf(0) for k in range(len(q))]
    return interval(q.sum()) * iv.log(total) - own, shares


def seen(c, Z):
    """What the loss sees of logits."""
    Z = c["multiplicative"][:, None] * Z
    pairs = zip(Z.T, c["offsets"].T, strict=True)
    return [
        [None if shift is None else interval(z + shift) for z, shift in zip(*pair, strict=True)]
        for pair in pairs
    ]


def value(c, weights):
    """The objective at the point of the file."""
    Z = c["H"]
    for W in weights:
        Z = W @ Z
    columns = zip(c["shares of loss"], seen(c, Z + c["b"][:, None]), c["targets"].T, strict=True)
    losses = sum(interval(share) * entropy(z, q)[0] for share, z, q in columns)
    decay = sum(lam * (W**2).sum() for lam, W in zip(c["lambda_W"], weights, strict=True))
    decay += c["lambda_H"] * (c["H"] ** 2 @ c["masses"]).sum() + c["lambda_b"] * (c["b"] ** 2).sum()
    return losses + interval(decay / 2)


def classifier_etf(c, _):
    """What W W' = S (I - J/K) is not below: the shares of the file, their largest changed so that
    they sum to what q does, are a dual point."""
    q, p, K, part = c["targets"], c["shares"].copy(), len(c["b"]), c["shares of loss"]
    claim(p.shape == q.shape and not any(c["b"]), "a bias, or shares that do not fit")
    claim(not c["offsets"].any() and None not in c["offsets"], "offsets beside an ETF")
    for point, target in zip(p.T, q.T, strict=True):
        point[point.argmax()] += target.sum() - point.sum()
    x = q + c["factor"] * (p - q)
    u = c["multiplicative"][:, None] * (x - q)
    squares = (part**2 / c["masses"] * ((u - u.sum(axis=0) / K) ** 2).sum(axis=0)).sum()
    claim(x.min() >= 0, "shares below 0")
    claim(squares <= (K - 1) * c["lambda_W"][0] * c["lambda_H"], "a dual point that is too long")
    ends = zip([*(part * x).flat, *(-part * q.sum(axis=0))], [*x.flat, *q.sum(axis=0)], strict=True)
    conjugates = sum(interval(a) * iv.log(interval(b)) for a, b in ends if a)
    return -conjugates, "classifier that is a simplex ETF"


def aligned(c, weights):
    """What features along the fixed rows of their classes are not below: in each length the value
    is convex, by the decay at least, and almost flat at the length of the file."""
    (W,), q, a, total = weights, c["targets"], c["lengths"], iv.mpf(0)
    claim(not c["lambda_W"].any() and not any(c["b"]), "weights that are not fixed, or a bias")
    claim(set(q.flat) == {0, 1} and set(q.sum(axis=0)) == {1}, "targets that are not one-hot")
    rows = W[q.argmax(axis=0)].T
    held = c["lambda_H"] * c["masses"] * (rows**2).sum(axis=0)
    claim(a.shape == held.shape and held.min() > 0, "lengths that do not fit, or a row that is 0")
    steep = c["multiplicative"][:, None] * (W @ rows)
    columns = zip(c["shares of loss"], seen(c, W @ rows * a), q.T, steep.T, strict=True)
    for i, (share, z, target, slopes) in enumerate(columns):
        loss, p = entropy(z, target)
        pull = [(p[k] - interval(target[k])) * interval(share * slopes[k]) for k in range(len(q))]
        flat = sum(pull) + interval(held[i] * a[i])
        total += interval(share) * loss + interval(held[i] * a[i] ** 2 / 2)
        total -= flat**2 / interval(2 * held[i])
    return total, "choice of features along the rows of their classes"


def etf(c, weights):
    """Of any number of layers, equally large classes and a plain loss."""
    per_class, q = c["targets"] @ c["masses"], c["targets"]
    plain = set(c["multiplicative"]) | {1 + x for x in c["offsets"].flat if x is not None}
    claim(plain == {1} and None not in c["offsets"], "a loss of another kind")
    claim(set(q.flat) == {0, 1} and set(q.sum(axis=0)) == {1}, "targets that are not one-hot")
    claim(len(set(c["weights"])) == 1, "samples that do not count alike")
    claim(len(set(per_class)) == 1, "classes that are not equally large")
    product = np.prod(c["lambda_W"]) * c["lambda_H"] * per_class[0]
    claim(product > 0, "masses or decay < 0")
    found = no_etf_below(interval(c["claimed_lower"]), len(q), len(weights), product)
    claim(found, "the claimed least value may be lower")
    return interval(c["claimed_lower"]), "simplex ETF"


def no_etf_below(limit, K, M, product):
    """Whether log(1 + (K-1) exp(-a)) + factor a^power >= limit for every a >= 0."""
    power = iv.mpf(2) / (M + 1)
    factor = (K - 1) / power * iv.exp(iv.log(interval(product)) / (M + 1))

    def loss(a):
        return iv.log(1 + (K - 1) * iv.exp(-a))

    def decay(a, power=power):
        return factor * iv.exp(power * iv.log(a)) if a.a > 0 else factor * 0

    end = 1.0
    while not decay(iv.mpf(end)) >= limit:
        claim(end < 2**30, "a decay that does not grow")
        end *= 2
    left = [(0.0, end)]
    while left:
        low, high = left.pop()
        middle, whole = (low + high) / 2, iv.mpf([low, high])
        if loss(iv.mpf(high)) + decay(iv.mpf(low)) >= limit:
            continue
        if low > 0:
            # the mean value theorem
            slope = power * decay(whole, power - 1) - (K - 1) / (iv.exp(whole) + K - 1)
            at = iv.mpf(middle)
            if loss(at) + decay(at) + slope * (whole - at) >= limit:
                continue
        if high - low < 2**-40 * end:
            return False
        left += [(low, middle), (middle, high)]
    return True


def read(arrays):
    """The arrays of a file as fractions, None for an offset of -inf; what is left out is added."""
    finite = [x for name, x in arrays.items() if name != "offsets"]
    shifts = arrays.get("offsets", 0 * arrays["targets"])
    claim(all(np.isfinite(x).all() for x in finite) and (shifts < np.inf).all(), "not finite")
    exact = np.vectorize(Fraction, otypes=[object])
    c = {name: exact(x) for name, x in arrays.items() if name != "offsets"}
    c = {name: x.item() if x.ndim == 0 else x for name, x in c.items()}
    c["offsets"] = np.array([None if x == -np.inf else Fraction(x) for x in shifts.flat], object)
    c["offsets"] = c["offsets"].reshape(shifts.shape)
    one = Fraction(1)
    c = {"weights": 0 * c["masses"] + one, "multiplicative": 0 * c["b"] + one} | c
    counted = c["masses"] * c["weights"]
    return c | {"shares of loss": counted / counted.sum()}


def verify(arrays):
    """The two ends of a file, if they hold."""
    iv.prec = 200
    c = read(arrays)
    q, m, M = c["targets"], c["masses"], len(c["lambda_W"])
    positive = min(*m, *c["weights"], *c["multiplicative"], c["lambda_H"])
    claim(positive > 0 <= min(*c["lambda_W"], c["lambda_b"]), "masses or decay < 0")
    claim(q.min() >= 0 and not q[np.equal(c["offsets"], None)].any(), "targets < 0 or dropped")
    weights = [c[f"W_{i}"] for i in range(1, M + 1)]
    fits = c["H"].shape[1:] == q.shape[1:] == m.shape == c["weights"].shape
    fits &= c["offsets"].shape == q.shape and c["multiplicative"].shape == c["b"].shape
    claim(fits and weights[-1].shape[:1] == c["b"].shape == q.shape[:1], "arrays that do not fit")
    found = value(c, weights)
    ends = "no ends (no --prove, or a check that bounds no least value)"
    ends += f"; its value is {float(found.mid)!r}, {float(c['claimed'])!r} is called the least"
    claim({"upper", "claimed_lower"} <= set(c), ends)
    lower, upper = c["claimed_lower"], c["upper"]
    claim(upper < lower, "a value that is not lower")
    one = M == 1 and (("shares" in c and classifier_etf) or ("lengths" in c and aligned))
    least, kind = (one or etf)(c, weights)
    claim(interval(lower) <= least, f"the claimed least value may be lower: {least}")
    claim(found <= interval(upper), f"the value {found}")
    return f"{float(upper)!r} < {float(lower)!r} <= the value of every {kind}"


if __name__ == "__main__":
    for name in sys.argv[1:]:
        with np.load(name, allow_pickle=False) as file:
            print(f"{name}: verified, {verify(dict(file))}")
