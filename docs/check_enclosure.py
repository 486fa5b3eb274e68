"""Verify what `ufm.prove(problem, params).save(FILE)` wrote: `python check_enclosure.py FILE`.

Without ufm: exact fractions (NumPy only holds them) and mpmath's intervals. See `docs/proofs.md`.
"""

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


def exact(x):
    """An array of floats, or of integers in strings, as the fractions that they are."""
    return np.vectorize(Fraction, otypes=[object])(np.array(x, dtype=object))


def interval(x):
    """A fraction, rounded outward."""
    return iv.mpf(x.numerator) / iv.mpf(x.denominator)


def integers(x):
    """An array of binary fractions as integers over one power of two."""
    grid = max(entry.denominator for entry in x.flat)
    return np.vectorize(int, otypes=[object])(x * grid), grid


def softmax(loss, q, a, x, z):
    """Weighted dual logits y; a times the losses at z, and a times the conjugates, summed."""
    scale = exact(loss.get("multiplicative", [1] * len(q)))[:, None]
    shift = exact(loss.get("additive", [0] * len(q)))[:, None]
    u, totals = x - a * q, q.sum(axis=0)
    claim(scale.min() > 0 and q.min() >= 0 <= x.min() and not any(u.sum(axis=0)), "bad shares")
    z = scale * z + shift
    below = z - z.max(axis=0)
    sums = [iv.log(sum(iv.exp(interval(entry)) for entry in column)) for column in below.T]
    values = sum(interval(w) * s for w, s in zip(a * totals, sums, strict=True))
    pairs = zip(x.flat, (x / a).flat, strict=True)
    logs = sum(interval(p) * iv.log(interval(share)) for p, share in pairs if p)
    logs -= sum(interval(w * s) * iv.log(interval(s)) for w, s in zip(a, totals, strict=True))
    return scale * u, values - interval((a * q * below).sum()), logs - interval((shift * u).sum())


def squared(loss, q, a, y, z):
    """The same for squared errors, whose y is in the file as it is."""
    weights = 1 + (Fraction(loss.get("weight", 1)) - 1) * q
    wanted = Fraction(loss.get("length", 1)) * q
    claim(weights.min() > 0, "a loss that is not convex")
    conjugates = y**2 / (2 * a * weights) + wanted * y
    return y, interval((a * weights * (z - wanted) ** 2 / 2).sum()), interval(conjugates.sum())


def verify(data):
    """The two ends of a file, if they hold."""
    iv.prec = 200
    problem, point, dual = data["problem"], data["point"], data["dual"]
    families = {"CrossEntropy": softmax, "AdjustedCrossEntropy": softmax}
    families |= {"MeanSquaredError": squared, "RescaledSquaredError": squared}
    lambda_W, lambda_H = Fraction(problem["lambda_W"]), Fraction(problem["lambda_H"])
    m, loss = exact(problem["masses"]), problem["loss"]
    a = m if problem["weights"] is None else m * exact(problem["weights"])
    claim(min(*m, *a, lambda_W, lambda_H) > 0, "masses, weights or decay that are not positive")
    q = exact(problem["targets"])
    W, H, b = exact(point["W"]), exact(point["H"]), exact(point["b"] or [0] * len(q))
    (W_whole, unit), (H_whole, other) = integers(W), integers(H)
    z = W_whole @ H_whole * Fraction(1, unit * other) + b[:, None]
    x = exact(dual["entries"]) / 2 ** dual["exponent"]
    claim(x.shape == q.shape == z.shape and b.shape == (len(q),), "arrays that do not fit")
    y, values, conjugates = families[loss["name"]](loss, q, a, x, z)
    total, mean, bias = a.sum(), y.sum(axis=1) / a.sum(), problem["bias"]
    # lambda_W lambda_H total^2 I - y diag(1/m) y', rounded down; its congruent X decides its sign
    (y_whole, grid), (Q, _) = integers(y), integers(exact(data["witness"]))
    one = 1 << 200 + int(m.max()).bit_length()
    limit = lambda_W * lambda_H * (total * grid) ** 2 * one // 1
    X = Q.T @ (np.diag([limit] * len(q)) - (y_whole * -(-one // m)) @ y_whole.T) @ Q
    claim(all(2 * np.diag(X) > abs(X).sum(axis=1)), "a norm not shown to be small")
    decay, lack = lambda_W * (W**2).sum() + lambda_H * (H**2 @ m).sum(), Fraction(0)
    if isinstance(bias, float):
        claim(bias > 0, "a penalty that is not positive")
        decay, lack = decay + Fraction(bias) * (b**2).sum(), (mean**2).sum() / Fraction(bias)
    else:
        claim(not any(mean if bias == "free" else b), "a dual point or a bias that is not allowed")
    upper = values / interval(total) + interval(decay / 2)
    lower = -conjugates / interval(total) - interval(lack / 2)
    claim(iv.mpf(data["lower"]) <= lower and upper <= iv.mpf(data["upper"]), f"{lower}, {upper}")
    return f"{data['lower']!r} <= global minimum <= {data['upper']!r}"


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(f"{name}: verified, {verify(json.loads(Path(name).read_text(encoding='utf-8')))}")
