"""The rivals of the pair metrics say the same; their timings are reports."""

from __future__ import annotations

import pytest

from tests.benchmarks import metrics, vocabulary


@pytest.mark.thorough
def test_rows_at_toy_size():
    # `rows` itself raises unless all agree
    rows = metrics.rows(repeats=1, sizes=((70, 8), (130, 5)))
    assert [row.required for row in rows] == [10.0] * (2 + 2 * metrics.has_package())


def test_another_answer_is_noticed(monkeypatch):
    def wrong(means, variances, inner=metrics.grids):
        ratio, energy = inner(means, variances)
        return ratio, energy + 1e-3

    monkeypatch.setattr(metrics, "grids", wrong)
    with pytest.raises(RuntimeError, match="differ"):
        metrics.rows(repeats=1, sizes=((30, 4),))


def test_a_vocabulary_at_toy_size():
    found = metrics.vocabulary(50, 6, 5000, batch=900, subsample=1000)
    assert found["tokens"] == 5000
    assert 2 <= found["classes kept"] <= 50
    assert found["etf_excess"] > 0
    assert found["tokens of NC4"] == 1000
    assert 0 < found["nc4"] < 1


@pytest.mark.thorough
def test_next_tokens_at_toy_size():
    found = vocabulary.certified(60, 20, 0.3)
    assert found["result"] == "PROVED"
    assert found["gap"] <= vocabulary.GAP
    assert found["rank, to 1e-2 of the largest"] < 20
    steps = vocabulary.steps(60, 8, chunk=25, budget=3)
    assert steps["steps"] == 3
    assert steps["value"] < 10
