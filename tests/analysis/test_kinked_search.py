"""`search` of models with ReLU layers."""

from __future__ import annotations

import numpy as np
import pytest

import ufm
from tests.solvers.test_continuation import rectified
from ufm.analysis import kinked_search, rectified_search
from ufm.analysis.kinked_search import BATCH, Descents


@pytest.mark.slow
def test_reaches_the_best_known_point_of_three_classes(key):
    problem, _, collapsed = rectified(3, 4, 5)
    found = ufm.search(problem, key=key, starts=1)
    assert found.value / collapsed == pytest.approx(0.972724383, abs=1e-8)
    assert found.finished
    assert set(found.origins) == {
        "random",
        "narrow",
        "near triple of 3",
        "near collapse of 3",
        "beside a found point",
    }
    # a round of each, and four beside what was found
    assert len(found.values) == len(found.origins) == 7 * BATCH
    assert found.values.min() / collapsed == pytest.approx(0.972724, abs=3e-6)
    assert found.best.kinks.residual < 1e-10
    assert all(solution.kinks is not None for solution in found.solutions)
    assert f"rank 3, of {7 * BATCH} starts" in str(found)
    assert "reached 0 times" not in str(found).split("\n")[1]


def test_is_resumed_where_it_was_interrupted(key, monkeypatch):
    problem, *_ = rectified(3, 4, 3)
    batch, calls, real = 2, [], Descents.run
    for module in (kinked_search, rectified_search):
        monkeypatch.setattr(module, "BATCH", batch)

    def interrupting(self, index, kind):
        calls.append(kind)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(self, index, kind)

    monkeypatch.setattr(Descents, "run", interrupting)
    part = ufm.search(problem, key=key, starts=1)
    assert (part.finished, len(part.values)) == (False, 2 * batch)
    rest = ufm.search(problem, key=key, starts=1, resume=part)
    assert rest.finished
    assert len(rest.values) == 7 * batch
    np.testing.assert_array_equal(rest.values[: 2 * batch], part.values)
    assert rest.value <= part.value * (1 + 1e-12)
    assert calls[:3] == ["random", "narrow", "structure"]
    for other in (problem.replace(widths=(3, 3, 3, 4)), problem.replace(lambda_H=0.5)):
        with pytest.raises(ValueError, match="`resume` must be the result of a search of the same"):
            ufm.search(other, key=key, starts=1, resume=part)


@pytest.mark.parametrize("at", [1, 2, 3])
def test_ctrl_c_on_the_way_onto_kinks_loses_nothing(at, key, monkeypatch):
    problem, *_ = rectified(3, 4, 3)
    for module in (kinked_search, rectified_search):
        monkeypatch.setattr(module, "BATCH", 2)
    calls, onto = [], rectified_search.onto_kinks

    def interrupting(*args):
        calls.append(1)
        if len(calls) == at:
            raise KeyboardInterrupt
        return onto(*args)

    with monkeypatch.context() as patch:
        for name in ("settled", "onto_kinks"):
            patch.setattr(rectified_search, name, interrupting)
        part = ufm.search(problem, key=key, starts=1)
    assert (part.finished, len(part.values)) == (False, 14)
    # (zero is among what is kept, and need not be among what is found)
    assert part.value <= part.values.min() * (1 + 1e-9)
    left = [found for found in part.solutions if found.result is ufm.Result.INTERRUPTED]
    assert left
    assert all(found.kinks is None for found in left)
    assert (part.best.kinks is None) == (at == 1)
    whole = ufm.search(problem, key=key, starts=1, resume=part)
    assert whole.finished
    assert len(whole.values) == 14
    assert all(found.kinks is not None for found in whole.solutions)
    assert whole.value <= part.value * (1 + 1e-12)


def test_after_ctrl_c_nothing_is_led_onto_kinks(key, monkeypatch):
    problem, *_ = rectified(3, 4, 3)
    for module in (kinked_search, rectified_search):
        monkeypatch.setattr(module, "BATCH", 2)
    real = Descents.run

    def interrupting(self, index, kind):
        if index == last:
            raise KeyboardInterrupt
        return real(self, index, kind)

    def never(*args):
        raise AssertionError("it may take minutes")

    monkeypatch.setattr(Descents, "run", interrupting)
    for name in ("settled", "onto_kinks"):
        monkeypatch.setattr(rectified_search, name, never)
    last = 1
    part = ufm.search(problem, key=key, starts=1)
    assert part.best.result is ufm.Result.INTERRUPTED
    assert part.value <= part.values.min()
    assert "(interrupted)" in str(part)
    last = 0
    with pytest.raises(KeyboardInterrupt):
        ufm.search(problem, key=key, starts=1)


def test_structures_are_started_at_where_they_speak(key):
    problem, *_ = rectified(6, 4, 8)
    names = [name for name, _ in kinked_search._structures(problem)]
    assert names[0] == "pairs of 6"
    assert "triple of 3 + triple of 3" in names
    for change in ({"loss": ufm.CrossEntropy()}, {"bias": "free"}):
        assert kinked_search._structures(problem.replace(**change)) == []
    # one column a sample is as good as one a class
    full = problem.replace(labels=ufm.one_hot((2,) * 6))
    flats = dict(kinked_search._structures(full))
    assert flats["pairs of 6"].size == problem.depth * 64 - 16 + 8 * 12
    # at so strong a decay none is better than zero
    assert kinked_search._structures(problem.replace(lambda_W=1.0)) == []


def test_what_is_refused(key):
    problem, *_ = rectified(3, 4, 3)
    with pytest.raises(ValueError, match="`logits` must not be given for ReLU layers"):
        ufm.search(problem, key=key, logits={"a": np.eye(3)})
    with pytest.raises(ValueError, match="`execution` must not be given for ReLU layers"):
        ufm.search(problem, key=key, execution=ufm.batch.Execution())
    sphere = problem.replace(features=ufm.domains.Sphere(1.0))
    with pytest.raises(ValueError, match=r"`problem\.features` must be unconstrained"):
        ufm.search(sphere, key=key)


def live_rows(W):
    return int(np.sum(np.any(np.asarray(W) != 0, axis=1)))


def test_narrow_starts_have_few_units_before_the_last_layer(key):
    problem, *_ = rectified(4, 4, 6)
    start = ufm.solvers.random_start(problem, key=key)
    narrow = kinked_search.narrowed(start, 2)
    # units of every hidden layer with weights, W_1's first
    assert [live_rows(W) for W in narrow.weights[:0:-1]] == [2, 2, 6]
    assert [live_rows(W.T) for W in narrow.weights[:0:-1]] == [6, 2, 2]
    np.testing.assert_array_equal(narrow.weights[0], start.weights[0])
    np.testing.assert_array_equal(narrow.weights[-1][:2], start.weights[-1][:2])
    # with three matrices one layer is narrow, with two none
    three, *_ = rectified(4, 3, 6)
    narrow = kinked_search.narrowed(ufm.solvers.random_start(three, key=key), 3)
    assert [live_rows(W) for W in narrow.weights[:0:-1]] == [3, 6]
    two, *_ = rectified(4, 2, 6)
    assert "narrow" not in list(Descents(two, key, 1).plan())
