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


def value(c, weights):
    """The objective at the point of the file."""
    Z = c["H"]
    for W in weights:
        Z = W @ Z
    Z = Z + c["b"][:, None]
    below = Z - Z.max(axis=0)
    sums = [iv.log(sum(iv.exp(interval(entry)) for entry in column)) for column in below.T]
    losses = sum(interval(m) * s for m, s in zip(c["masses"], sums, strict=True))
    losses -= interval((c["masses"] * c["targets"] * below).sum())
    decay = sum(lam * (W**2).sum() for lam, W in zip(c["lambda_W"], weights, strict=True))
    decay += c["lambda_H"] * (c["H"] ** 2 @ c["masses"]).sum() + c["lambda_b"] * (c["b"] ** 2).sum()
    return losses / interval(c["masses"].sum()) + interval(decay / 2)


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


def verify(arrays):
    """The two ends of a file, if they hold."""
    iv.prec = 200
    claim({"upper", "claimed_lower"} <= set(arrays), "no ends: it was written without --prove")
    claim(all(np.isfinite(array).all() for array in arrays.values()), "numbers that are not finite")
    claim({"weights", "multiplicative", "offsets"}.isdisjoint(arrays), "a loss of another kind")
    c = {name: np.vectorize(Fraction, otypes=[object])(array) for name, array in arrays.items()}
    c |= {name: array.item() for name, array in c.items() if array.ndim == 0}
    K, M, q = len(c["targets"]), len(c["lambda_W"]), c["targets"]
    lambda_H, per_class = c["lambda_H"], q @ c["masses"]
    claim(min(*c["masses"], *c["lambda_W"], lambda_H) > 0 <= c["lambda_b"], "masses or decay < 0")
    claim(set(q.flat) == {0, 1} and set(q.sum(axis=0)) == {1}, "targets that are not one-hot")
    claim(len(set(per_class)) == 1, "classes that are not equally large")
    weights = [c[f"W_{m}"] for m in range(1, M + 1)]
    fits = c["H"].shape[1:] == q.shape[1:] == c["masses"].shape
    claim(fits and weights[-1].shape[:1] == c["b"].shape == (K,), "arrays that do not fit")
    lower, upper = c["claimed_lower"], c["upper"]
    claim(upper < lower, "a value that is not lower")
    found = value(c, weights)
    claim(found <= interval(upper), f"the value {found}")
    product = np.prod(c["lambda_W"]) * lambda_H * per_class[0]
    claim(no_etf_below(interval(lower), K, M, product), "the claimed least value may be lower")
    return f"{float(upper)!r} < {float(lower)!r} <= the value of every simplex ETF"


if __name__ == "__main__":
    for name in sys.argv[1:]:
        with np.load(name, allow_pickle=False) as file:
            print(f"{name}: verified, {verify(dict(file))}")
