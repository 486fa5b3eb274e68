"""The benchmark of large problems runs and compares equals.

Its timings are reports and never assertions.
"""

from __future__ import annotations

from tests.benchmarks import large


def test_rows_at_toy_size():
    # `rows` itself raises unless the two objectives agree
    (row,) = large.rows(repeats=1, sizes=((600, 4),), vocabulary=(300, 4))
    assert row.notes["MB held"] < row.notes["dense"]
    assert row.notes["MB held at K = 300, d = 4 (compiled only)"] > 0
