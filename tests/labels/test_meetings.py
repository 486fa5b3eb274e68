"""Which classes hang together, and which lose for ever, against walks written out in Python."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ufm
from ufm.labels.meetings import groups, losing


def reached(arrows: np.ndarray, start: int) -> set[int]:
    found, waiting = {start}, [start]
    for k in waiting:
        more = set(np.flatnonzero(arrows[k]).tolist()) - found
        found |= more
        waiting += more
    return found


@given(seed=st.integers(0, 2**32 - 1))
def test_by_walks(seed):
    rng = np.random.default_rng(seed)
    K, C = rng.integers(1, 9), rng.integers(1, 9)
    targets = np.eye(K)[:, rng.integers(K, size=C)]
    kept = (targets > 0) | (rng.uniform(size=(K, C)) < rng.uniform(0, 0.5))
    arrows = np.array(
        [[bool(np.any((targets[k] > 0) & kept[j])) for j in range(K)] for k in range(K)]
    )
    ways = [reached(arrows, k) for k in range(K)]
    wanted = [j for j in range(K) if any(j in ways[k] and k not in ways[j] for k in range(K))]
    assert losing(targets, kept).tolist() == wanted
    both = [reached(arrows | arrows.T, k) for k in range(K)]
    number = groups(targets, kept)
    assert [set(np.flatnonzero(number == number[k]).tolist()) for k in range(K)] == both


@pytest.mark.parametrize(
    ("gone", "number", "lost"),
    [
        pytest.param([], [0, 0, 0], [], id="all-kept"),
        pytest.param([(0, 1), (0, 2), (1, 0), (2, 0)], [0, 1, 1], [], id="class-0-apart"),
        pytest.param([(0, 1), (0, 2)], [0, 0, 0], [1, 2], id="kept-with-0-that-is-dropped"),
        pytest.param([(1, 0), (2, 0), (1, 2), (0, 1)], [0, 0, 0], [0, 2], id="two-steps"),
    ],
)
def test_labels_say_so(gone, number, lost):
    offsets = np.zeros((3, 3))
    for place in gone:
        offsets[place] = -np.inf
    labels = ufm.labels.with_offsets(ufm.one_hot([3, 2, 1], collapsed=True), offsets)
    assert labels.shift_groups.tolist() == number
    assert labels.losing_classes.tolist() == lost
    assert labels.labels.shift_groups.tolist() == [0, 0, 0]
    assert labels.labels.losing_classes.tolist() == []


def test_a_class_without_targets():
    labels = ufm.soft(np.eye(3)[:, :2])
    assert labels.losing_classes.tolist() == [2]
    # that no column keeps it is no loss
    everywhere = np.array([0.0, 0.0, -np.inf])
    assert ufm.labels.with_offsets(labels, everywhere).losing_classes.tolist() == []
