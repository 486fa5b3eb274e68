"""Classes that are alike: the point in which they look alike is the optimum, and proved to be."""

import jax
import numpy as np
import pytest

import ufm
from ufm.domains import Ball, Budget, Sphere
from ufm.model import Params, objective
from ufm.solution import Result
from ufm.solvers import exchangeable_start
from ufm.solvers.coordinates import joined
from ufm.solvers.exchangeable import _advanced, _begun, _drawn, exchangeable, groups_of
from ufm.solvers.invariant import InvariantMerit

COUNTS = (40, 9, 9, 9, 3, 3, 1)
K = len(COUNTS)
KEY = jax.random.key(3)
# what label smoothing by a tenth makes of collapsed labels
SMOOTH = ufm.soft(0.9 * np.eye(K) + 0.1 / K, masses=COUNTS)


def problem(counts=COUNTS, *, d=None, loss=None, lambda_W=2e-3, lambda_H=1e-3, **options):
    labels = options.pop("labels", None) or ufm.one_hot(counts, collapsed=True)
    return ufm.Problem(
        labels,
        loss=loss or ufm.CrossEntropy(),
        widths=(d or labels.num_classes,),
        lambda_W=lambda_W,
        lambda_H=lambda_H,
        **options,
    )


@pytest.mark.lean("free")
@pytest.mark.parametrize("bias", [None, "free", 1e-2], ids=str)
def test_the_start_is_the_optimum_that_an_ordinary_solve_finds(bias):
    p = problem(bias=bias)
    start = exchangeable_start(p, key=KEY)
    assert abs(float(ufm.certify(p, start).gap)) < 1e-10
    found = ufm.minimise(p, key=jax.random.key(0))
    np.testing.assert_allclose(objective(p, start), found.value, rtol=1e-12)
    # (a number added to all logits of a column costs nothing under a free bias)
    there, here = (np.asarray(logits) for logits in (start.logits, found.logits))
    # as near as the gradients of two solves are to 0
    np.testing.assert_allclose(there - there.mean(0), here - here.mean(0), rtol=0, atol=1e-9)
    # and an ordinary solve has nothing left to do there
    assert int(ufm.minimise(p, start=start, tolerance=1e-9).num_steps) == 0


@pytest.mark.lean("focal")
@pytest.mark.parametrize(
    ("loss", "labels"),
    [
        (ufm.MeanSquaredError(), None),
        (ufm.CrossEntropy(), SMOOTH),
        (ufm.losses.Focal(1.5), None),
    ],
    ids=["squared error", "smoothed labels", "focal"],
)
def test_other_losses_and_labels_have_it_too(loss, labels):
    p = problem(loss=loss, labels=labels)
    start = exchangeable_start(p, key=KEY)
    found = ufm.minimise(p, key=KEY)
    np.testing.assert_allclose(objective(p, start), found.value, rtol=1e-10)
    assert float(ufm.minimise(p, start=start).value) <= float(objective(p, start)) + 1e-13


@pytest.mark.lean("free-smoothed", "one-group", "focal")
@pytest.mark.parametrize(
    "options",
    [
        # the free bias of one group is the shift of all logits, which costs nothing
        pytest.param({"counts": (5,) * 8, "bias": "free"}, id="one-group"),
        pytest.param({"counts": (100, *(1,) * 7), "bias": "free"}, id="one-of-its-own"),
        pytest.param(
            {"counts": (20, 20, 2, 2), "bias": "free", "loss": ufm.losses.Focal(2.0)}, id="focal"
        ),
        pytest.param({"labels": SMOOTH, "bias": "free"}, id="free-smoothed"),
        pytest.param({"labels": SMOOTH, "bias": 1e-4}, id="penalised-smoothed"),
        pytest.param({"bias": "free"}, id="free"),
        pytest.param({}, id="none"),
        pytest.param({"bias": "free", "loss": ufm.MeanSquaredError()}, id="free-squared"),
    ],
)
def test_weak_decay_is_solved_from_every_start(options):
    """Few groups lie in few directions: their logits would begin in the hundreds, and stay."""
    for p in (problem(lambda_W=1e-4, lambda_H=weak, **options) for weak in (1e-5, 1e-7)):
        groups = groups_of(p)
        assert groups is not None
        merit, values = InvariantMerit.of(p, groups), []
        for number in range(3):
            begun = _begun(merit, _drawn(merit, jax.random.key(number)))
            # (207 steps at most; from logits in the hundreds 400 are not enough)
            state, code = _advanced(merit, 1e-10, 300, begun)
            assert ufm.Result(int(code)) is ufm.Result.CONVERGED
            values.append(float(state.value))
        np.testing.assert_allclose(values, values[0], rtol=1e-12)
        start = exchangeable_start(p, key=KEY)
        np.testing.assert_allclose(objective(p, start), values[0], rtol=1e-12)
        if p.loss.convex:
            assert abs(float(ufm.certify(p, start).gap)) < 1e-9


# nothing is known of the lengths of others, so that radii and weights make groups too
RADII = np.array([5.0, 4, 4, 4, 3, 2, 2])
BOUNDED = {
    "spheres": {"classifier": Sphere(1.0), "features": Sphere(5.0)},
    "hot": {"classifier": Sphere(1.0), "features": Sphere(50.0)},
    "spheres with decay": {"classifier": Sphere(1.0), "features": Sphere(5.0), "lambda_W": 2e-3},
    "decay and a sphere": {"features": Sphere(3.0), "lambda_W": 2e-3},
    "free": {"classifier": Sphere(1.0), "features": Sphere(5.0), "bias": "free"},
    "penalised": {"classifier": Sphere(1.0), "features": Sphere(5.0), "bias": 1e-2},
    "wide": {"classifier": Sphere(1.0), "features": Sphere(5.0), "d": K + 3},
    "balls": {"classifier": Ball(1.0), "features": Ball(5.0), "lambda_W": 1e-2, "lambda_H": 1e-3},
    "radii": {"classifier": Ball(1.0), "features": Sphere(RADII)},
    "budgets": {"classifier": Budget(7.0), "features": Budget(50.0)},
    "weights": {"classifier": Budget(7.0, weights=RADII), "features": Sphere(4.0)},
}


@pytest.mark.lean("spheres", "radii", "weights")
@pytest.mark.parametrize("options", [pytest.param(v, id=k) for k, v in BOUNDED.items()])
def test_on_spheres_in_balls_and_under_budgets_too(options):
    """One vector stands for those of a group, whose domain holds it as it does them."""
    p = problem(**{"lambda_W": None, "lambda_H": None} | options)
    start = exchangeable_start(p, key=KEY)
    assert abs(float(ufm.certify(p, start).gap)) < 1e-11
    found = ufm.minimise(p, key=jax.random.key(0))
    np.testing.assert_allclose(objective(p, start), found.value, rtol=1e-12)
    logits = np.asarray(start.logits)
    swap = np.array([0, 2, 1, 3, 4, 5, 6])
    np.testing.assert_allclose(logits[np.ix_(swap, swap)], logits, rtol=0, atol=1e-11)


@pytest.mark.parametrize(
    "options",
    [{}, {"counts": (2,) * 4, "lambda_W": None, "lambda_H": None} | BOUNDED["spheres"]],
    ids=["decay", "spheres"],
)
def test_one_dimension_less_is_enough_where_a_common_shift_costs_nothing(options):
    """Of one group alone nothing is left that moves: its features begin on their class's side."""
    p = problem(**options)
    p = p.replace(widths=(p.labels.num_classes - 1,))
    for number in range(3):
        start = exchangeable_start(p, key=jax.random.key(number))
        assert abs(float(ufm.certify(p, start).gap)) < 1e-10


def test_vectors_that_a_domain_tells_apart_are_not_alike():
    bounded = {"lambda_W": None, "lambda_H": None, "classifier": Ball(1.0)}
    assert np.max(groups_of(problem(features=Ball(5.0), **bounded))) == 3
    assert np.max(groups_of(problem(features=Ball(RADII[::-1]), **bounded))) == 5
    assert groups_of(problem(features=Ball(1.0 + np.arange(K)), **bounded)) is None


def test_a_domain_that_does_not_say_what_stands_for_a_group_is_refused():
    class Unknown(Sphere):
        def of_groups(self, first, sizes):
            return None

    p = problem(features=Unknown(1.0), lambda_H=None)
    with pytest.raises(ValueError, match="`problem` must have one linear layer"):
        exchangeable_start(p, key=KEY)


def test_classes_that_are_alike_look_alike_and_spare_dimensions_are_zeros():
    p = problem(d=K + 2)
    start = exchangeable_start(p, key=KEY)
    logits = np.asarray(start.logits)
    for a, b in ((1, 2), (2, 3), (4, 5)):
        swap = np.arange(K)
        swap[[a, b]] = b, a
        np.testing.assert_allclose(logits[np.ix_(swap, swap)], logits, rtol=0, atol=1e-12)
    assert not np.any(np.asarray(start.features)[K:])
    assert start.features.shape == (K + 2, K)


def test_the_same_key_gives_the_same_point():
    p = problem()
    one, two = exchangeable_start(p, key=KEY), exchangeable_start(p, key=KEY)
    np.testing.assert_array_equal(one.features, two.features)


@pytest.mark.parametrize(
    "options",
    [
        {"counts": (4, 3, 2, 1)},
        {"labels": ufm.one_hot((2, 2, 2))},
        {"d": K - 2},
        {"d": K - 1, "loss": ufm.MeanSquaredError()},
        {"features": ufm.domains.Nonnegative()},
        {"labels": ufm.labels.with_offsets(ufm.one_hot((2, 2), collapsed=True), np.eye(2))},
    ],
    ids=[
        "all different",
        "columns of samples",
        "narrow",
        "narrow for squared error",
        "domain",
        "offsets",
    ],
)
def test_other_problems_are_refused(options):
    with pytest.raises(ValueError, match=r"`problem`|`widths`"):
        exchangeable_start(problem(**options), key=KEY)


def test_targets_that_favour_one_class_are_not_exchanged():
    """Two classes with the same count, of which the first is the likelier mistake for the third."""
    targets = np.eye(3)
    targets[:, 2] = 0.2, 0.0, 0.8
    assert groups_of(problem(labels=ufm.soft(targets))) is None


def test_classes_that_the_loss_tells_apart_are_not_alike():
    margins = np.array([0.0, 1.0, 1.0, 2.0, 0.0, 0.0, 0.0])
    p = problem(loss=ufm.losses.AdjustedCrossEntropy(additive=margins))
    groups = groups_of(p)
    assert groups is not None
    assert groups.max() == 4
    start = exchangeable_start(p, key=KEY)
    np.testing.assert_allclose(objective(p, start), ufm.minimise(p, key=KEY).value, rtol=1e-11)


def test_single_precision_stays_single():
    p = problem(labels=ufm.one_hot(COUNTS, collapsed=True, dtype="float32"))
    start = exchangeable_start(p, key=KEY)
    assert start.features.dtype == np.float32
    np.testing.assert_allclose(objective(p, start), ufm.minimise(p, key=KEY).value, rtol=1e-6)


def test_with_a_gap_many_classes_are_solved_by_groups():
    """A hundred classes of two kinds: proved optimal where the start ends."""
    counts = np.repeat([50, 5], 50)
    p = problem(counts, lambda_W=1e-4, lambda_H=1e-4, bias="free")
    assert exchangeable(p) is not None
    assert exchangeable(problem(counts, d=98)) is None
    assert exchangeable(problem(counts, d=99, loss=ufm.MeanSquaredError())) is None
    assert exchangeable(problem(np.arange(1, 121))) is None
    solution = ufm.minimise(p, key=KEY, gap=1e-8)
    assert solution.result is ufm.Result.PROVED
    assert int(solution.num_steps) == 0
    assert solution.certificate is not None
    assert abs(float(solution.certificate.gap)) < 1e-8


def test_with_a_gap_balanced_classes_are_proved_from_every_key():
    """Half of the keys ended at a wrong value, or in an error about a start that nobody gave."""
    p = problem((5,) * 100, lambda_W=1e-4, lambda_H=1e-4, bias="free")
    for number in range(6):
        solution = ufm.minimise(p, key=jax.random.key(number), gap=1e-8)
        assert solution.result is ufm.Result.PROVED
        np.testing.assert_allclose(solution.value, ufm.closed_form(p).value, rtol=1e-10)


def test_where_groups_do_not_get_there_a_random_start_is_taken(monkeypatch):
    from ufm.solvers import exchangeable as module

    p = problem(np.repeat([50, 5], 50), lambda_W=1e-3, lambda_H=1e-3, bias="free")
    monkeypatch.setattr(
        module, "_solved", lambda merit, drawn, *rest: (_begun(merit, drawn).flat, Result.STALLED)
    )
    solution = ufm.minimise(p, key=KEY, gap=1e-8)
    assert solution.result is ufm.Result.PROVED
    assert int(solution.num_steps) > 0


def hundred_on_spheres(counts=(5,) * 100):
    return problem(
        counts, lambda_W=None, lambda_H=None, classifier=Sphere(1.0), features=Sphere(10.0)
    )


def test_with_a_gap_many_classes_on_spheres_are_proved_too():
    p = hundred_on_spheres()
    for number in range(3):
        solution = ufm.minimise(p, key=jax.random.key(number), gap=1e-9)
        assert solution.result is ufm.Result.PROVED
        assert int(solution.num_steps) == 0
    simplex = np.log1p(99 * np.exp(-10 * 100 / 99))
    np.testing.assert_allclose(solution.value, simplex, rtol=1e-12)


def test_a_saddle_of_groups_is_no_solution(monkeypatch):
    """Where all rows are one and all features are one, no direction has a slope."""
    from ufm.solvers import exchangeable as module

    def saddle(merit, drawn, *rest):
        point = merit.blocks.split(_begun(merit, drawn).flat)
        W, H = point.weights[0].at[:, -1].set(0), point.features.at[-1].set(0)
        return merit.settled(joined(Params((W,), H))), Result.CONVERGED

    p = hundred_on_spheres()
    monkeypatch.setattr(module, "_solved", saddle)
    start = exchangeable_start(p, key=KEY)
    assert int(ufm.minimise(p, start=start).num_steps) == 0
    np.testing.assert_allclose(objective(p, start), np.log(100), rtol=1e-12)
    solution = ufm.minimise(p, key=KEY, gap=1e-9)
    assert solution.result is ufm.Result.PROVED
    assert int(solution.num_steps) > 0


def test_ctrl_c_keeps_the_best_point(monkeypatch):
    from ufm.solvers import exchangeable as module

    advanced, calls = module._advanced, []

    def interrupted(*arguments):
        if calls:
            raise KeyboardInterrupt
        calls.append(1)
        return advanced(*arguments)

    monkeypatch.setattr(module, "_advanced", interrupted)
    p = problem(np.repeat([50, 5], 50), lambda_W=1e-4, lambda_H=1e-4, bias="free")
    solution = ufm.minimise(p, key=KEY, gap=1e-8)
    assert solution.result is ufm.Result.INTERRUPTED
    np.testing.assert_allclose(solution.value, objective(p, solution.params), rtol=1e-14)
    assert int(solution.num_steps) == 0
    monkeypatch.undo()
    assert ufm.minimise(p, resume=solution, gap=1e-8).result is ufm.Result.PROVED
