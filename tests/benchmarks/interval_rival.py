"""What a careful user writes to enclose a minimum.

The intervals of mpmath around NumPy's point and dual.
"""

from __future__ import annotations

import mpmath
import numpy as np

from tests.benchmarks.long_tail_rival import LongTailCrossEntropy


def enclose(
    rival: LongTailCrossEntropy, W: np.ndarray, H: np.ndarray, bits: int
) -> tuple[float, float]:
    """An interval around the minimum of the objective of `rival`, from one of its points, every
    rounding accounted for."""
    iv = mpmath.iv
    before, iv.prec = iv.prec, bits
    try:
        counts = [int(n) for n in rival.counts]
        decay = iv.mpf(rival.decay)
        upper = _objective(iv, W, H, counts, decay)
        lower = _bound(iv, _shares(W @ H), counts, decay)
        return float(mpmath.mpf(lower.a)), float(mpmath.mpf(upper.b))
    finally:
        iv.prec = before


def _objective(iv, W, H, counts, decay):
    rows, columns = ([[iv.mpf(float(x)) for x in row] for row in matrix] for matrix in (W, H.T))
    loss = iv.mpf(0)
    for k, (n, h) in enumerate(zip(counts, columns, strict=True)):
        logits = [_dot(iv, row, h) for row in rows]
        loss += n * iv.log(sum((iv.exp(z - logits[k]) for z in logits), iv.mpf(0)))
    ridge = sum((_dot(iv, row, row) for row in rows), iv.mpf(0))
    ridge += sum((n * _dot(iv, h, h) for n, h in zip(counts, columns, strict=True)), iv.mpf(0))
    return loss / sum(counts) + decay / 2 * ridge


def _bound(iv, shares, counts, decay):
    r"""$-\sum_k\omega_k\ell^*(u_k)$ at u = t (p − q), t the lower end of $\mu/\|V\|$, as
    `ufm.certify` takes it."""
    K, total = len(counts), sum(counts)
    columns = []
    for k in range(K):
        rest = [iv.mpf(float(shares[j, k])) for j in range(K)]
        # a point of the simplex exactly: its own share makes up for the rest
        rest[k] = -sum((rest[j] for j in range(K) if j != k), iv.mpf(0))
        columns.append(rest)
    lifts = [iv.sqrt(iv.mpf(n)) / total for n in counts]
    lifted = [[u * lift for u in column] for column, lift in zip(columns, lifts, strict=True)]
    t = decay / _norm(iv, lifted)
    t = min(iv.mpf(1), iv.mpf(t.a))
    bound = iv.mpf(0)
    for k, (n, column) in enumerate(zip(counts, columns, strict=True)):
        points = [t * u + (j == k) for j, u in enumerate(column)]
        bound -= iv.mpf(n) / total * sum((a * iv.log(a) for a in points), iv.mpf(0))
    return bound


def _norm(iv, columns):
    """Above the spectral norm.

    The discs of Gershgorin, after a change of basis to float eigenvectors.
    """
    K, rows = len(columns), list(zip(*columns, strict=True))
    gram = [[_dot(iv, a, b) for b in rows] for a in rows]
    floats = np.array([[float(mpmath.mpf(entry.mid)) for entry in row] for row in gram])
    basis = [[iv.mpf(float(x)) for x in vector] for vector in np.linalg.eigh(floats)[1].T]
    turned = [[_dot(iv, row, vector) for row in gram] for vector in basis]
    form = [[_dot(iv, a, vector) for vector in basis] for a in turned]
    inner = [[_dot(iv, a, b) for b in basis] for a in basis]
    largest = max(sum((abs(entry) for entry in row), iv.mpf(0)).b for row in form)
    smallest = min(
        (inner[i][i] - sum((abs(inner[i][j]) for j in range(K) if j != i), iv.mpf(0))).a
        for i in range(K)
    )
    return iv.sqrt(iv.mpf(largest) / iv.mpf(smallest))


def _dot(iv, a, b):
    return sum((x * y for x, y in zip(a, b, strict=True)), iv.mpf(0))


def _shares(logits: np.ndarray) -> np.ndarray:
    exponentials = np.exp(logits - logits.max(axis=0))
    return exponentials / exponentials.sum(axis=0)
