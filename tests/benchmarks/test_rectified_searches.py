"""Calls of `search` are counted, kept and not made again."""

from __future__ import annotations

import json

from tests.benchmarks import rectified_searches
from tests.benchmarks.rectified_searches import hits, main, measured, met, table


def answered(ratios, seconds=1.0):
    return [{"seed": i, "ratio": r, "cpu seconds": seconds} for i, r in enumerate(ratios)]


def row(ratios, seconds=1.0):
    return {
        "K": 3, "L": 4, "width": 5, "known": 0.5, "prototype": [1, 16],
        "calls": answered(ratios, seconds),
    }  # fmt: skip


def test_nine_in_ten_are_enough_and_ten_minutes_of_two_cores_the_most():
    good = row([0.5] * 8 + [0.4, 0.6])
    assert (hits(good), met(good)) == (9, True)
    assert not met(row([0.5] * 8 + [0.6, 0.6]))
    assert not met(row([0.5] * 10, seconds=1201.0))
    assert "| 3 | 4 | 5 | 0.5 | 9 of 10 | 0.400000 | 1 of 16 | 1, 1 |" in table([good])


def test_what_the_file_has_is_not_searched_again(tmp_path, monkeypatch):
    made, path = [], tmp_path / "searches.json"

    def call(K, L, width, seed):
        made.append((K, L, seed))
        return {"seed": seed, "ratio": 0.9, "cpu seconds": 1.0}

    monkeypatch.setattr(rectified_searches, "call", call)
    assert len(measured(2, ["3:4"], path)) == 1
    assert main(["--calls", "3", "--settings", "3:4", "--json", str(path)]) == 0
    assert made == [(3, 4, 0), (3, 4, 1), (3, 4, 2)]
    (kept,) = json.loads(path.read_text())["rows"]
    assert [each["seed"] for each in kept["calls"]] == [0, 1, 2]
    assert kept["prototype"] == [0, 16]
