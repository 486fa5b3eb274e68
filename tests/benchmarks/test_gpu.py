"""The benchmark and the comparison for accelerators run, on a CPU in the place of one."""

from __future__ import annotations

import numpy as np
import pytest

from tests.benchmarks import gpu
from tests.gpu.__main__ import compared


@pytest.mark.slow
def test_rows_at_toy_size():
    found = gpu.rows(repeats=1, sizes=gpu.TOY, accelerator="cpu")
    assert len(found) == 5
    assert all(row.ours.wall > 0 and row.rival.wall > 0 for row in found)
    assert found[0].notes["largest gap"] <= 1e-8


def test_an_answer_that_differs_is_named():
    wanted = {"a: value": np.array([2.0, 1.0]), "a: gap": np.array(1e-14), "platform": "cpu"}
    found = {"a: value": np.array([2.0, 1.0 + 1e-9]), "a: gap": np.array(1e-12), "platform": "gpu"}
    assert [(name, ok) for name, _, ok in compared(wanted, found)] == [
        ("a: value", False),
        ("a: gap", True),
    ]
