"""`search`: it finds what is known, takes directions away, can be interrupted and resumed.

And starts at given logits.
"""

import itertools
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ufm
from ufm.analysis import search_starts, searches


def entropy(K, M, lam, **options):
    labels = ufm.one_hot((1,) * K, collapsed=True)
    return ufm.Problem(
        labels, loss=ufm.CrossEntropy(), widths=(K,) * M, lambda_W=lam, lambda_H=lam, **options
    )


SMALL = entropy(4, 2, 0.03)


def test_finds_what_is_below_the_etf(key):
    found = ufm.search(SMALL, key=key, starts=8)
    assert found.best.result == ufm.Result.CONVERGED
    assert found.params is found.best.params
    assert found.finished
    assert (found.rank, len(found.values)) == (2, 8)
    # pairs, in closed form
    assert found.value == pytest.approx(ufm.laws.deep_candidates(SMALL)[0].value, rel=1e-12)
    values = [float(s.value) for s in found.solutions]
    assert values == sorted(values)
    assert all(b > a * (1 + 1e-9) for a, b in itertools.pairwise(values))
    assert found.ranks == tuple(
        np.linalg.matrix_rank(np.asarray(s.logits), tol=1e-6) for s in found.solutions
    )
    assert set(found.values.round(9)) <= set(np.round(values, 9))
    assert str(found).startswith(
        "best known value 0.388677100221, rank 2, of 8 starts\n  value 0.388677100221, rank 2, "
        "reached"
    )


def bounded(K, d, *, features, classifier=None, lambda_W=0.0):
    rows = {} if classifier is None else {"classifier": classifier}
    return ufm.Problem(
        ufm.one_hot((1,) * K, collapsed=True),
        loss=ufm.CrossEntropy(),
        widths=(d,),
        lambda_W=lambda_W,
        lambda_H=0.0,
        features=features,
        **rows,
    )


def test_a_start_that_is_led_finds_the_24_cell(key):
    """At an inverse temperature of 20 no random start does; the value is that of the code."""
    sphere = ufm.domains.Sphere
    problem = bounded(24, 4, features=sphere(20.0), classifier=sphere(1.0))
    found = ufm.search(problem, key=key, starts=2)
    code = ufm.frames.cell_24()
    value = np.log1p(code.multiplicities @ np.exp(20 * (code.inner_products - 1)))
    assert found.origins == ("random, scale 1", "random, led from short lengths")
    assert found.values[1] == pytest.approx(value, rel=1e-9)
    assert found.value == found.values[1] < 0.9 * found.values[0]


@pytest.mark.parametrize(
    "problem",
    [
        bounded(4, 3, features=ufm.domains.Ball(9.0), classifier=ufm.domains.Budget(4.0)),
        bounded(4, 3, features=ufm.domains.Budget(90.0), lambda_W=1e-3),
        bounded(4, 3, features=ufm.domains.Sphere(0.5), classifier=ufm.domains.Ball(1.0)),
    ],
    ids=["ball-budget", "budget-decay", "short"],
)
def test_starts_that_are_led_end_at_the_minimum_of_every_mixture(problem, key):
    found = ufm.search(problem, key=key, starts=2)
    assert found.best.result == ufm.Result.CONVERGED
    assert ufm.certify(problem, found.best.params).gap < 1e-9
    assert found.values[1] == pytest.approx(found.value, rel=1e-9)


@pytest.mark.slow
def test_finds_the_recorded_point_of_eight_classes(key):
    found = ufm.search(entropy(8, 3, 0.03), key=key, starts=16)
    assert (found.value, found.rank) == (pytest.approx(0.749513, abs=5e-7), 3)


def test_truncation_leaves_the_metastable_directions(key):
    """A long tail at depth.

    From every start at the natural scale more directions stay than the optimum has.
    """
    labels = ufm.one_hot(ufm.labels.exponential_counts(10, largest=100, ratio=100), collapsed=True)
    problem = ufm.Problem(
        labels, loss=ufm.MeanSquaredError(), widths=(10,) * 3, lambda_W=2e-3, lambda_H=2e-3
    )
    optimum = ufm.closed_form(problem)
    kept = ufm.search(problem, key=key, starts=1, directions=False)
    found = ufm.search(problem, key=key, starts=1, resume=kept)
    assert kept.value > optimum.value * (1 + 1e-4)
    assert kept.rank > found.rank == np.sum(optimum.singular_values > 0)
    assert found.value == pytest.approx(optimum.value, rel=1e-12)
    assert found.values == kept.values


def test_directions_that_no_start_keeps_are_taken_up(key):
    """Two classes behind decays that differ by a thousand: nearly all starts end at rank 1."""
    problem = ufm.Problem(
        ufm.one_hot([3, 3], collapsed=True),
        loss=ufm.MeanSquaredError(),
        widths=(2, 2),
        lambda_W=(1.67e-4, 0.0481),
        lambda_H=0.1665,
        bias=0.347,
    )
    optimum = ufm.closed_form(problem)
    kept = ufm.search(problem, key=key, starts=2, directions=False)
    assert kept.value > 1.5 * optimum.value
    found = ufm.search(problem, key=key, starts=2, resume=kept)
    assert found.value == pytest.approx(optimum.value, rel=1e-12)


@pytest.mark.parametrize("bias", [None, "free", 0.1])
def test_start_from_logits_has_them(bias, key):
    labels = ufm.one_hot((3, 2, 1))
    problem = ufm.Problem(
        labels,
        loss=ufm.CrossEntropy(),
        widths=(5, 3),
        lambda_W=(0.3, 0.02),
        lambda_H=0.1,
        bias=bias,
    )
    Z = np.array([[4.0, -1, 0], [0, 3, -2], [-1, 0, 2]])
    start = ufm.analysis.start_from_logits(problem, Z, key=key, noise=0.0)
    np.testing.assert_allclose(start.logits, Z @ labels.targets, rtol=0, atol=1e-12)
    same = ufm.analysis.start_from_logits(
        problem, Z @ np.asarray(labels.targets), key=key, noise=0.0
    )
    np.testing.assert_allclose(same.logits, start.logits, rtol=0, atol=1e-13)
    # balance: each factor costs the same
    costs = [
        0.3 * jnp.sum(start.weights[0] ** 2),
        0.02 * jnp.sum(start.weights[1] ** 2),
        0.1 * jnp.sum(start.features**2),
    ]
    np.testing.assert_allclose(costs, costs[0], rtol=1e-12)
    noisy = ufm.analysis.start_from_logits(problem, Z, key=key, noise=1e-2)
    assert 1e-4 < float(jnp.max(jnp.abs(noisy.logits - start.logits))) < 1


def test_start_from_logits_of_low_rank_is_of_low_rank(key):
    # the singular values that are rounding would be 1e-4 in every factor
    problem = entropy(6, 3, 0.01)
    vectors = np.random.default_rng(0).standard_normal((2, 6))
    start = ufm.analysis.start_from_logits(problem, vectors.T @ vectors, key=key, noise=0.0)
    assert all(
        np.linalg.matrix_rank(np.asarray(W), tol=1e-12) == 2
        for W in (*start.weights, start.features)
    )
    zero = ufm.analysis.start_from_logits(problem, np.zeros((6, 6)), key=key)
    assert all(not np.any(leaf) for leaf in jax.tree.leaves(zero))


def test_logits_of_the_caller_are_started_at(key):
    etf = next(c for c in ufm.laws.deep_candidates(SMALL) if c.name == "simplex ETF")
    found = ufm.search(SMALL, key=key, starts=1, logits={"etf": etf.logits}, directions=False)
    assert found.origins == ("logits: etf", "random, scale 1")
    assert found.values[0] == pytest.approx(etf.value, rel=1e-12)
    assert found.end_ranks[0] == 3


def test_interrupted_and_resumed_is_the_same_as_whole(key, monkeypatch):
    whole = ufm.search(SMALL, key=key, starts=6)
    calls, real = [], search_starts.minimise

    def interrupting(*args, **kwargs):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    monkeypatch.setattr(search_starts, "minimise", interrupting)
    one = ufm.batch.Execution(threads=1)
    part = ufm.search(SMALL, key=key, starts=6, execution=one)
    assert (part.finished, len(part.values)) == (False, 3)
    assert "(interrupted)" in str(part)
    rest = ufm.search(SMALL, key=key, starts=6, resume=part)
    assert rest.finished
    np.testing.assert_array_equal(rest.values, whole.values)
    assert rest.value == whole.value
    assert rest.origins == whole.origins

    monkeypatch.setattr(
        search_starts, "minimise", lambda *args, **kwargs: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    with pytest.raises(KeyboardInterrupt):
        ufm.search(SMALL, key=key, starts=6)


def test_threads_find_the_same_and_can_be_interrupted(key, monkeypatch):
    whole, many = ufm.search(SMALL, key=key, starts=6), ufm.batch.Execution(threads=3)
    found = ufm.search(SMALL, key=key, starts=6, execution=many)
    np.testing.assert_array_equal(found.values, whole.values)
    np.testing.assert_array_equal(found.codes, whole.codes)
    assert [float(s.value) for s in found.solutions] == [float(s.value) for s in whole.solutions]
    real, free = search_starts.start_of, threading.Event()

    def starting(problem, kind, *, key):
        # the third start fails while the second is on its way, and the fourth has ended
        if kind == kinds[1]:
            free.wait(timeout=60)
        if kind == kinds[2]:
            free.set()
            raise KeyboardInterrupt
        return real(problem, kind, key=key)

    kinds = [search_starts.random_kind(SMALL, i)[1] for i in range(6)]
    monkeypatch.setattr(searches, "start_of", starting)
    part = ufm.search(SMALL, key=key, starts=6, execution=many)
    assert (part.finished, len(part.values)) == (False, 2)
    monkeypatch.setattr(searches, "start_of", real)
    rest = ufm.search(SMALL, key=key, starts=6, execution=many, resume=part)
    assert rest.finished
    np.testing.assert_array_equal(rest.values, whole.values)
    assert rest.value == whole.value


def test_threads_work_on_what_is_neither_tiny_nor_long():
    one, two = ufm.batch.Execution(), ufm.batch.Execution(threads=2)
    large = entropy(60, 3, 0.03)
    assert searches._workers(large, one) == (1, (None,))
    assert searches._workers(large, two) == (2, (None,))
    assert searches._workers(entropy(10, 3, 0.03), one) == (one.workers, (None,))
    # where solves are mostly Python threads are slower
    assert searches._workers(SMALL, one) == (1, (None,))
    assert searches._workers(SMALL, ufm.batch.Execution(threads=4, chunk=3))[0] == 3
    assert searches._workers(SMALL, ufm.batch.Execution(threads=4, memory=1))[0] == 1
    devices = jax.local_devices()[:1]
    assert searches._workers(large, ufm.batch.Execution(threads=2, devices=devices)) == (
        2,
        tuple(devices),
    )
    found = ufm.search(
        SMALL, key=jax.random.key(1), starts=1, execution=ufm.batch.Execution(devices=devices)
    )
    assert found.best.result == ufm.Result.CONVERGED


def test_kinds_of_starts():
    kinds = [search_starts.random_kind(SMALL, i) for i in range(8)]
    assert [kind[1][0] for kind in kinds] == [None, 1, None, 2, None, 3, None, 1]
    assert [kind[1][1] for kind in kinds] == [1.0, 1.0, 0.5, 0.5, 1.4, 1.4, 0.35, 0.35]


def test_bad_input(key):
    with pytest.raises(ValueError, match="`starts` must be a whole number >= 1; got 0"):
        ufm.search(SMALL, key=key, starts=0)
    with pytest.raises(
        ValueError, match=r"`logits\['a'\]` must have shape \(4, 4\) or \(4, 4\); got \(3, 3\)"
    ):
        ufm.search(SMALL, key=key, logits={"a": np.eye(3)})
    with pytest.raises(ValueError, match="`lambda_W` must be finite and > 0 for a search"):
        ufm.search(entropy(4, 2, 0.0), key=key)
    with pytest.raises(
        ValueError, match="`problem` must have free weights for a search; got frozen weights"
    ):
        ufm.search(entropy(2, 1, 0.1, fixed_weights=(np.eye(2),)), key=key)
    with pytest.raises(ValueError, match="`problem` must have no anchor for a search"):
        ufm.analysis.start_from_logits(
            entropy(2, 1, 0.1, anchor=np.eye(2), beta=1.0), np.eye(2), key=key
        )
    with pytest.raises(ValueError, match="`logits` must be finite"):
        ufm.analysis.start_from_logits(SMALL, np.full((4, 4), np.nan), key=key)
    with pytest.raises(ValueError, match="`noise` must be finite and >= 0"):
        ufm.analysis.start_from_logits(SMALL, np.eye(4), key=key, noise=-1.0)
    with pytest.raises(ValueError, match=r"`resume` must be ufm\.BestKnown"):
        ufm.search(SMALL, key=key, resume="yes")


def other_problems():
    wider, full = entropy(4, 2, 0.03).replace(widths=(4, 6)), ufm.one_hot((2,) * 4)
    yield pytest.param({"problem": entropy(4, 2, 0.3)}, "same problem", id="decay")
    yield pytest.param({"problem": wider}, "same problem", id="widths")
    yield pytest.param({"problem": SMALL.replace(labels=full)}, "same problem", id="labels")
    yield pytest.param({"key": jax.random.key(99)}, "same `key`", id="key")
    yield pytest.param({"key": jax.random.key(0, impl="rbg")}, "same `key`", id="kind-of-key")
    yield pytest.param({"logits": {}}, "same `logits`", id="without-logits")
    yield pytest.param({"logits": {"b": np.eye(4)}}, "same `logits`", id="other-names")
    yield pytest.param({"logits": {"a": 2 * np.eye(4)}}, "same `logits`", id="other-logits")


@pytest.fixture(scope="module")
def one_search():
    logits = {"a": np.eye(4)}
    asked = {"problem": SMALL, "key": jax.random.key(0), "logits": logits}
    return asked, ufm.search(**asked, starts=1, directions=False)


@pytest.mark.parametrize(("other", "words"), list(other_problems()))
def test_resume_refuses_another_search(other, words, one_search):
    asked, found = one_search
    with pytest.raises(ValueError, match=f"`resume` must be the result of a search .*{words}"):
        ufm.search(**(asked | other), starts=1, resume=found)
    assert ufm.search(**asked, starts=1, resume=found, directions=False).value == found.value
