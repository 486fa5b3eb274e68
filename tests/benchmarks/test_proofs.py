"""The rival of `ufm.prove` encloses what is known, and both enclose the same.

Its timings are reports.
"""

from __future__ import annotations

import numpy as np
import pytest

from tests.benchmarks import proofs
from tests.benchmarks.interval_rival import enclose
from tests.benchmarks.long_tail_rival import LongTailCrossEntropy

pytest.importorskip("flint")


@pytest.mark.parametrize("off", [0.0, 1e-3])
def test_the_rival_encloses_a_known_minimum(off):
    # balanced: with root = sqrt(n) mu and a = log(1/root - K + 1) the value is log(1 + (K-1) e^-a)
    # + root (K-1) a
    K, n, decay = 3, 6, 1e-2
    root = np.sqrt(n) * decay
    a = np.log(1 / root - K + 1)
    value = np.log1p((K - 1) * np.exp(-a)) + root * (K - 1) * a
    contrast = (np.eye(K) - 1 / K) * np.sqrt(a * np.sqrt(n))
    lower, upper = enclose(
        LongTailCrossEntropy((n,) * K, K, decay), (1 + off) * contrast, contrast / np.sqrt(n), 106
    )
    assert lower <= value * (1 + 1e-15)
    assert upper >= value * (1 - 1e-15)
    assert off / 10 < (upper - lower) / value < 1e-12 + 10 * off


def test_rows_at_toy_size():
    # `rows` itself raises unless both enclose the same, narrowly
    (row,) = proofs.rows(repeats=1, K=4, d=4, decay=1e-3)
    assert row.notes["relative width"] <= row.notes["rival's"]
