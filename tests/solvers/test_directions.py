"""Deep products: directions that one start leaves out, or keeps, are found from where it ends."""

from __future__ import annotations

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ufm
from ufm.model import objective
from ufm.solvers import directions, pieces, redirection
from ufm.solvers.directions import better_directions, has_directions
from ufm.solvers.spreading import spread


def problem(counts, M, lam, **options):
    labels = ufm.one_hot(np.asarray(counts), collapsed=True)
    common = {"loss": ufm.MeanSquaredError(), "widths": (len(counts),) * M}
    return ufm.Problem(labels, **(common | {"lambda_W": lam, "lambda_H": lam} | options))


def random_problems(M, K, number):
    """λ over three decades below the one at which everything is zero."""
    rng = np.random.default_rng([M, K])
    for i in range(number):
        counts = rng.integers(1, 10, K)
        strengths = ufm.thresholds(problem(counts, M, 1.0)).entries
        top = max(float(entry.strength) for entry in strengths if entry.of_optimum)
        lam = 10 ** rng.uniform(-3, 0) * top / counts.sum()
        yield problem(counts, M, lam), jax.random.key(i)


def missed(M, K, number):
    """The excess over the closed form of each problem whose one start does not end there."""
    found = []
    for one, key in random_problems(M, K, number):
        excess = float(ufm.minimise(one, key=key).value) / float(ufm.closed_form(one).value) - 1
        assert excess > -1e-10
        found += [excess] * (excess > 1e-9)
    return found


@pytest.mark.parametrize("M", [2, 4])
def test_one_start_ends_at_the_optimum(M):
    assert missed(M, 4, 16) == []


@pytest.mark.slow
@pytest.mark.parametrize("K", [3, 5, 8])
@pytest.mark.parametrize("M", [2, 3, 4])
def test_one_start_ends_at_the_optimum_of_a_thousand_problems(M, K):
    assert len(missed(M, K, 112)) <= 1


def balanced(one, s):
    """The point whose product has the classes' own directions, of these sizes."""
    K, r = one.labels.num_classes, int(np.count_nonzero(s))
    order, s = np.argsort(-np.asarray(s))[:r], np.asarray(s, dtype=float)
    *weights, features = spread(one, np.eye(K)[:, order], s[order], np.eye(K)[order])
    features = features / np.sqrt(np.asarray(one.labels.masses))
    return ufm.Params(tuple(map(jnp.asarray, weights)), jnp.asarray(features), one.zero_bias)


@pytest.mark.parametrize(
    "options", [{}, {"loss": ufm.CrossEntropy(), "bias": "free"}, {"widths": (3, 6)}]
)
@pytest.mark.parametrize("sizes", [[0, 1, 1], [0, 0, 0], [1.9, 1.4, 1.4]])
def test_goes_to_a_lower_point(sizes, options):
    one = problem([9, 4, 4], 2, 2e-3, **options)
    point = balanced(one, sizes)
    lower = better_directions(one, point)
    if min(sizes) == 0:
        assert lower is not None
        assert float(objective(one, lower)) < float(objective(one, point)) * 0.9
    else:
        solution = ufm.minimise(one, start=point)
        assert better_directions(one, solution.params) is None


def test_looks_at_some_products_at_a_time(monkeypatch):
    one = problem([9, 4, 4], 2, 2e-3)
    point = balanced(one, [0, 1, 1])
    wanted = better_directions(one, point)
    # nine logits each, two at a time
    monkeypatch.setattr(directions, "_MOST_LOGITS", 20)
    found = better_directions(one, point)
    assert wanted is not None
    assert found is not None
    np.testing.assert_array_equal(found.features, wanted.features)


def test_drops_what_decay_has_made_too_dear():
    strengths = ufm.thresholds(problem([4, 4, 4, 1], 3, 1.0)).entries
    given_up = min(float(entry.strength) for entry in strengths if entry.of_optimum)
    gone = min(float(entry.strength) for entry in strengths if not entry.of_optimum)
    one = problem([4, 4, 4, 1], 3, (given_up * gone) ** 0.5 / 13)
    kept = ufm.minimise(one, start=balanced(one, [1.8, 1.8, 1.8, 0.8]))
    assert np.linalg.matrix_rank(kept.params.classifier, tol=1e-6) == 4
    lower = better_directions(one, kept.params)
    assert lower is not None
    assert np.linalg.matrix_rank(lower.classifier, tol=1e-6) == 3
    assert float(objective(one, lower)) < float(kept.value)


def test_a_start_of_the_users_is_left_where_it_leads():
    one = problem([9, 4, 4], 2, 2e-3)
    left = ufm.minimise(one, start=balanced(one, [0, 1, 1]))
    assert better_directions(one, left.params) is not None


def stop(*args, **kwargs):
    raise KeyboardInterrupt


def another_direction_is_lower():
    """A problem whose one random start ends above what it goes on to."""
    for one, key in random_problems(2, 4, 16):
        value = float(ufm.minimise(one, key=key).value)
        plain = ufm.minimise(one, start=ufm.solvers.random_start(one, key=key))
        if value < float(plain.value) * (1 - 1e-6):
            return one, key, value
    raise AssertionError("none")


@pytest.mark.parametrize(
    ("module", "name"), [(redirection, "better_directions"), (pieces, "launch_from")]
)
def test_ctrl_c_among_directions_keeps_what_has_converged(module, name, monkeypatch):
    one, key, value = another_direction_is_lower()
    with monkeypatch.context() as patch:
        patch.setattr(module, name, stop)
        part = ufm.minimise(one, key=key)
    assert part.result is ufm.Result.INTERRUPTED
    # how the start itself ended
    assert part.codes.tolist() == [ufm.Result.CONVERGED]
    assert float(part.value) > value * (1 + 1e-6)
    rest = ufm.minimise(one, resume=pickle.loads(pickle.dumps(part)))
    assert rest.result is ufm.Result.CONVERGED
    assert float(rest.value) == pytest.approx(value, rel=1e-12)
    # what a start of the user's leads to is left there, resumed or not
    left = ufm.minimise(one, start=part.params)
    assert float(ufm.minimise(one, resume=left).value) > value * (1 + 1e-6)


def test_ctrl_c_on_the_way_to_other_directions_is_resumed(monkeypatch):
    one, key, value = another_direction_is_lower()
    with monkeypatch.context() as patch:
        patch.setattr(pieces, "go_on", stop)
        patch.setattr(pieces, "launch_from", short := launched_for(1))
        part = ufm.minimise(one, key=key)
    assert len(short.calls) == 1
    assert part.result is ufm.Result.INTERRUPTED
    rest = ufm.minimise(one, resume=part)
    assert rest.result is ufm.Result.CONVERGED
    assert float(rest.value) == pytest.approx(value, rel=1e-12)


def launched_for(steps):
    """`pieces.launch_from` with a first piece of so many steps."""
    real = pieces.launch_from

    def launch_from(problem, solver, tolerance, limit, start):
        launch_from.calls.append(limit)
        return real(problem, solver, tolerance, steps, start)

    launch_from.calls = []
    return launch_from


def test_only_deep_products_of_decay_alone_have_directions():
    assert has_directions(problem([2, 1], 2, 1e-3))
    assert not has_directions(problem([2, 1], 1, 1e-3))
    assert not has_directions(problem([2, 1], 2, 1e-3, activation="relu"))
    assert not has_directions(problem([2, 1], 2, 1e-3, features=ufm.domains.Ball(1.0)))
