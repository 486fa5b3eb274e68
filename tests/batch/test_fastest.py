"""The fastest way is found out once a kind."""

from __future__ import annotations

import time

from ufm.batch.fastest import fastest


def test_the_fastest_of_several_is_measured_once():
    calls = []

    def run(seconds):
        calls.append(seconds)
        time.sleep(seconds)

    kind = object()
    assert fastest((0.2, 0.01), run, kind=kind) == 0.01
    assert calls == [0.2, 0.2, 0.01, 0.01]
    assert fastest((0.2, 0.01), run, kind=kind) == 0.01
    assert len(calls) == 4


def test_one_way_is_not_tried():
    assert fastest((48,), lambda way: 1 / 0, kind="any") == 48
