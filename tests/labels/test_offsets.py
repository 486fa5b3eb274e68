"""Logit offsets of columns: the same answer wherever a loss is taken, a class dropped or not."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import scipy.special
from numpy.testing import assert_allclose

import ufm
from tests.certificates.problems import checker, on_file
from ufm.labels import OffsetLabels, with_offsets
from ufm.losses import loss_and_dual
from ufm.solvers.fixed_classifier import fit_features

K, d, KEY = 4, 4, jax.random.key(0)
W = np.asarray(ufm.simplex_etf(K, dim=d, key=KEY).T)
LABELS = ufm.labels.smoothed([5, 3, 2, 1], smoothing=0.1, collapsed=True)
ONE_HOT = ufm.one_hot([5, 3, 2, 1], collapsed=True)
SHIFTS = np.random.default_rng(0).normal(size=(K, K))
DROPPED = SHIFTS.copy()
DROPPED[1, 0] = DROPPED[3, 2] = DROPPED[0, 2] = -np.inf
# classes 0 and 3 never meet 1 and 2; and those that meet only by way of others, in a circle
PARTED = np.where(np.add.outer([0, 1, 1, 0], [0, 1, 1, 0]) == 1, -np.inf, SHIFTS)
CIRCLE = np.where(np.isin(np.subtract.outer(range(K), range(K)) % K, (0, 1)), SHIFTS, -np.inf)
# class 0 gains on the others in its own column, which is the only one that keeps it, and then none
LOSING, LOST = SHIFTS.copy(), SHIFTS.copy()
LOSING[0, 1:] = LOST[0, 1:] = LOST[1:, 0] = -np.inf


def problem_of(labels=LABELS, offsets: np.ndarray | None = SHIFTS, **options) -> ufm.Problem:
    settings = {"loss": ufm.CrossEntropy(), "widths": (d,), "lambda_W": 0.01, "lambda_H": 0.01}
    if offsets is not None:
        labels = with_offsets(labels, offsets)
    return ufm.Problem(labels, **settings | options)


FROZEN = {"fixed_weights": (W,), "lambda_H": 1e-3}
PROBLEMS = {
    "free": problem_of(),
    "free-dropped": problem_of(ONE_HOT, DROPPED),
    "bias": problem_of(bias="free"),
    "bias-dropped": problem_of(ONE_HOT, DROPPED, bias="free"),
    "bias-parted": problem_of(ONE_HOT, PARTED, bias="free"),
    "bias-circle": problem_of(ONE_HOT, CIRCLE, bias="free"),
    "bias-lost": problem_of(ONE_HOT, LOST, bias="free"),
    "bias-dropped-sphere": problem_of(
        ONE_HOT, DROPPED, bias="free", features=ufm.domains.Sphere(2.0), lambda_H=0.0
    ),
    "bias-dropped-frozen": problem_of(ONE_HOT, DROPPED, bias="free", **FROZEN),
    "penalised-dropped": problem_of(ONE_HOT, DROPPED, bias=0.1),
    "squares": problem_of(loss=ufm.MeanSquaredError()),
    "adjusted": problem_of(
        loss=ufm.losses.AdjustedCrossEntropy(multiplicative=[1.0, 2.0, 0.5, 1.0])
    ),
    "frozen": problem_of(**FROZEN),
    "frozen-dropped": problem_of(ONE_HOT, DROPPED, **FROZEN),
    "frozen-anchored": problem_of(
        ONE_HOT, DROPPED, anchor=np.random.default_rng(1).normal(size=(d, K)), beta=0.02, **FROZEN
    ),
    "frozen-sphere": problem_of(
        ONE_HOT, DROPPED, features=ufm.domains.Sphere(2.0), **FROZEN | {"lambda_H": 0.0}
    ),
    "sphere": problem_of(
        features=ufm.domains.Sphere(2.0), classifier=ufm.domains.Sphere(1.0), lambda_W=0, lambda_H=0
    ),
}


def value_by_hand(problem: ufm.Problem, params: ufm.Params, offsets) -> float:
    """The objective of cross-entropy, each column over the classes that it keeps."""
    labels, total = problem.labels, 0.0
    logits = np.asarray(params.logits)
    for z, q, shift, share in zip(
        logits.T, labels.targets.T, offsets.T, labels.column_weights, strict=True
    ):
        kept = shift > -np.inf
        seen = (z + shift)[kept]
        total += float(share) * float(np.log(np.exp(seen).sum()) - q[kept] @ seen)
    W, H, masses = (np.asarray(x) for x in (params.weights[0], params.features, labels.masses))
    decays = float(problem.lambda_H) * masses @ (H**2).sum(axis=0)
    return total + (decays + float(problem.lambda_W[0]) * (W**2).sum()) / 2


@jax.jit
def derivatives(loss, logits):
    """Of the sum of the losses of ONE_HOT by its logits; that of the first column twice."""

    def value(z):
        return jnp.sum(loss(z, ONE_HOT.targets))

    curved = jax.hessian(lambda column: value(logits.at[:, 0].set(column)))(logits[:, 0])
    return jax.grad(value)(logits), curved


@jax.jit
def values_at(loss, points):
    return jax.vmap(lambda z: jnp.sum(loss(z, ONE_HOT.targets)))(points)


@pytest.mark.parametrize("offsets", [SHIFTS, DROPPED], ids=["finite", "dropped"])
def test_value_and_gradient_are_those_of_the_classes_that_are_kept(offsets):
    problem = problem_of(ONE_HOT, offsets)
    W, H = np.random.default_rng(3).normal(size=(2, K, d))
    params = ufm.Params((jnp.asarray(W),), jnp.asarray(H), None)
    assert_allclose(
        ufm.model.objective(problem, params), value_by_hand(problem, params, offsets), rtol=1e-14
    )
    slopes, curved = (np.asarray(x) for x in derivatives(problem.loss, W @ H))
    assert np.all(slopes[np.isneginf(offsets)] == 0)
    steps = 1e-6 * np.eye(K * K).reshape(-1, K, K)
    above, below = (np.asarray(values_at(problem.loss, W @ H + sign * steps)) for sign in (1, -1))
    # values of 10 to rounding, over a step of 2e-6
    assert_allclose(slopes.ravel(), (above - below) / 2e-6, rtol=0, atol=1e-7)
    # and a second derivative is finite, of a dropped class zero
    assert np.all(np.isfinite(curved))
    assert np.all(curved[np.isneginf(offsets[:, 0])] == 0)


@pytest.mark.lean(
    "free-dropped",
    "bias",
    "bias-parted",
    "bias-circle",
    "bias-lost",
    "bias-dropped-sphere",
    "penalised-dropped",
    "squares",
    "frozen-dropped",
    "frozen-anchored",
    "frozen-sphere",
)
@pytest.mark.parametrize("name", PROBLEMS)
def test_minimised_certified_and_proved(name, tmp_path):
    problem = PROBLEMS[name]
    solution = ufm.minimise(problem, key=KEY, progress=False)
    assert solution.result is ufm.Result.CONVERGED
    assert ufm.certify(problem, solution.params).gap < 1e-10
    proved = ufm.prove(problem, solution.params)
    assert proved.relative_width < 1e-11
    # the upper end is the value at this point, with no rounding; 1.5 of eps is what is reached
    assert abs(float(solution.value) - proved.upper) < 2e-15 * proved.upper
    # who shares no code with the prover agrees, and not with other offsets
    data = on_file(proved)
    checker().verify(data)
    data["problem"]["offsets"][2][1] += 1e-3
    with pytest.raises(SystemExit):
        checker().verify(data)


def test_fenchel_and_young():
    loss, targets = PROBLEMS["free-dropped"].loss, ONE_HOT.targets
    rng = np.random.default_rng(2)
    z, other = rng.normal(size=(2, K, K))
    both = jax.jit(lambda logits: loss_and_dual(loss, logits, targets))
    conjugate = jax.jit(lambda duals: loss.conjugate(duals, targets))
    value, dual = (np.array(x) for x in both(z))
    assert_allclose(conjugate(dual), (dual * z).sum(axis=0) - value, rtol=0, atol=1e-13)
    elsewhere = np.asarray(both(other)[1])
    assert np.all(value + conjugate(elsewhere) >= (elsewhere * z).sum(axis=0))
    # a dual logit of a dropped class: the value does not bound it
    dual[1, 0] += 1e-9
    assert np.isposinf(conjugate(dual)[0])


def test_what_a_dual_point_is_off_its_simplex_counts_by_the_offsets():
    """A column whose entries sum to a rounding of one moves by that, times its offset, when it is
    brought back: a bound was above a value by 7e-16."""
    problem = problem_of(offsets=1000 * SHIFTS)
    off = 2.0**-52
    dual = jnp.zeros_like(problem.labels.targets).at[0].set(off)
    error = problem.loss.conjugate_error(dual, problem.labels.targets)
    assert np.all(np.asarray(error) >= off * np.max(np.abs(1000 * SHIFTS), axis=0))


def test_equal_offsets_are_logit_adjustment():
    shift = np.array([0.3, -1.0, 0.5, 0.0])
    adjusted = problem_of(
        offsets=None, loss=ufm.losses.AdjustedCrossEntropy(additive=shift), bias="free"
    )
    shifted = problem_of(offsets=shift, bias="free")
    values = [ufm.minimise(p, key=KEY, progress=False).value for p in (adjusted, shifted)]
    assert_allclose(*values, rtol=1e-12)


def test_squared_error_wants_the_targets_less_the_offsets():
    moved = problem_of(
        ufm.soft(LABELS.targets - SHIFTS, LABELS.masses), None, loss=ufm.MeanSquaredError()
    )
    values = [ufm.minimise(p, key=KEY, progress=False).value for p in (moved, PROBLEMS["squares"])]
    assert_allclose(*values, rtol=1e-12)


slope_of = jax.jit(jax.grad(ufm.model.objective, argnums=1))


@pytest.mark.parametrize("name", ["frozen", "frozen-dropped", "frozen-anchored"])
def test_columns_of_a_fixed_classifier(name):
    problem = PROBLEMS[name]
    columns = fit_features(problem)
    assert columns.result is ufm.Result.CONVERGED
    whole = ufm.minimise(problem, key=KEY, progress=False)
    assert_allclose(columns.params.features, whole.params.features, rtol=0, atol=1e-9)
    assert ufm.certify(problem, columns.params).gap < 1e-12
    # by how much a value can exceed the optimum, for any point: ‖∇‖²/(2μ) of the strongly convex
    # columns
    worse = ufm.Params(columns.params.weights, columns.params.features + 0.1, None)
    slope = np.asarray(slope_of(problem, worse).features)
    strength = np.asarray(problem.feature_decay * problem.labels.masses)
    room = (slope**2 / (2 * strength)).sum()
    certificate = ufm.certify(problem, worse)
    assert float(columns.value) >= float(certificate.lower_bound) - 1e-12
    assert float(ufm.model.objective(problem, worse)) - float(columns.value) <= room


def test_written_down_and_read_back():
    problem = PROBLEMS["frozen-dropped"]
    again = ufm.Problem.from_dict(json.loads(json.dumps(problem.to_dict())))
    assert np.array_equal(np.asarray(again.labels.offsets), DROPPED)
    assert isinstance(again.bare_loss, ufm.CrossEntropy)
    assert again.replace(lambda_H=0.1).labels.offsets is again.labels.offsets


def swept_over(make, over):
    report = ufm.sweeping.Report(metrics=())
    return ufm.sweep(make, over, key=KEY, report=report, progress=False)


def test_swept_without_compiling_again_and_differentiated():
    # (of the shapes of the other sweep, which shares its programs)
    problem = problem_of(LABELS, bias="free")

    def make(size):
        return problem.replace(labels=with_offsets(LABELS, size * SHIFTS))

    sizes = [0.0, 0.5, 1.0]
    swept = swept_over(make, {"size": sizes, "seed": [0]})
    alone = [ufm.minimise(make(size), key=KEY, progress=False) for size in sizes]
    assert_allclose(swept["value"].values.ravel(), [s.value for s in alone], rtol=1e-11)
    over = swept_over(problem, {"offsets": [s * SHIFTS for s in sizes]})
    assert_allclose(over["value"].values.ravel(), swept["value"].values.ravel(), rtol=1e-11)
    # the value moves with the offsets as it does with the logits: no leaf counts twice
    params = alone[-1].params

    @jax.jit
    def slope_and_dual(shift):
        def value(shift):
            return ufm.model.objective(problem.replace(labels=with_offsets(LABELS, shift)), params)

        return jax.grad(value)(shift), loss_and_dual(problem.loss, params.logits, LABELS.targets)[1]

    slope, dual = slope_and_dual(jnp.asarray(SHIFTS))
    assert_allclose(slope, dual * LABELS.column_weights[None, :], rtol=0, atol=1e-14)


def test_a_flow_goes_down_to_the_same_optimum():
    problem = PROBLEMS["free-dropped"]
    path = ufm.flow(problem, ts=[0.0, 3000.0], key=KEY, progress=False)
    best = ufm.minimise(problem, key=KEY, progress=False).value
    assert_allclose(path.value[-1], best, rtol=1e-8)


def test_a_search_knows_them():
    problem = PROBLEMS["free-dropped"]
    found = ufm.search(problem, key=KEY, starts=4, progress=False)
    best = ufm.minimise(problem, key=KEY, progress=False).value
    assert_allclose(np.min(found.values), best, rtol=1e-10)


def test_closed_forms_are_silent():
    labels = ufm.one_hot([3] * K, collapsed=True)
    with pytest.raises(ufm.NoClosedForm, match="offsets"):
        ufm.closed_form(problem_of(labels, SHIFTS))
    with pytest.raises(ufm.NoClosedForm, match="offsets"):
        ufm.laws.etf_branch(problem_of(labels, SHIFTS))
    # offsets that add nothing are none
    plain = ufm.closed_form(problem_of(labels, None)).value
    assert ufm.closed_form(problem_of(labels, np.zeros(K))).value == plain
    assert ufm.theory(problem_of(labels, SHIFTS)) is not None


def test_however_the_targets_are_held():
    sparse = ufm.one_hot([5, 3, 2, 1], collapsed=True, sparse=True)
    values = [
        ufm.minimise(problem_of(labels, DROPPED), key=KEY, progress=False).value
        for labels in (sparse, ONE_HOT)
    ]
    assert_allclose(*values, rtol=1e-12)
    again = with_offsets(with_offsets(sparse, SHIFTS), DROPPED)
    assert again.labels is sparse
    written = ufm.labels.written_out(again)
    assert isinstance(written, OffsetLabels)
    assert isinstance(written.labels, ufm.Labels)
    assert np.array_equal(np.asarray(written.offsets), DROPPED)


NOT_FINITE = np.where(np.eye(K) > 0, np.nan, SHIFTS)
WRONG = (
    ("shape", ONE_HOT, SHIFTS[:2], r"`offsets` must have shape \(4, 4\)"),
    ("nan", ONE_HOT, NOT_FINITE, "`offsets` must be finite, or -inf"),
    ("infinite", ONE_HOT, np.full(K, np.inf), "`offsets` must be finite, or -inf"),
    ("every-class", LABELS, np.full(K, -np.inf), "must leave every column a class"),
    ("target", LABELS, DROPPED, "must be finite wherever there is a target"),
    ("dtype", ONE_HOT, SHIFTS.astype(np.float32), "must have the problem's dtype"),
)


@pytest.mark.parametrize(("labels", "offsets", "words"), [w[1:] for w in WRONG], ids=lambda _: "")
def test_refused(labels, offsets, words):
    with pytest.raises(ValueError, match=words):
        with_offsets(labels, offsets)


def test_what_cannot_drop_a_class():
    with pytest.raises(ValueError, match="has to see every class"):
        problem_of(ONE_HOT, DROPPED, loss=ufm.MeanSquaredError())
    parts = ufm.CrossEntropy(), ufm.MeanSquaredError()
    with pytest.raises(ValueError, match="has to see every class"):
        problem_of(ONE_HOT, DROPPED, loss=ufm.losses.Sum(parts))


def test_a_sum_of_losses_drops_what_all_of_them_can_do_without():
    single = PROBLEMS["bias-dropped"]
    loss = ufm.losses.Sum((ufm.CrossEntropy(), ufm.CrossEntropy()), (0.3, 0.7))
    problem = single.replace(loss=loss)
    solution = ufm.minimise(problem, key=KEY, progress=False)
    assert solution.result is ufm.Result.CONVERGED
    alone, together = (ufm.prove(each, solution.params) for each in (single, problem))
    assert together.relative_width < 1e-11
    assert_allclose((together.lower, together.upper), (alone.lower, alone.upper), rtol=1e-11)
    assert ufm.certify(problem, solution.params).gap < 1e-10


def test_what_drops_a_class_under_another_name():
    problem_of(ONE_HOT, DROPPED, loss=ufm.losses.AdjustedCrossEntropy(additive=np.zeros(K)))


@pytest.mark.parametrize("offsets", [SHIFTS, DROPPED], ids=["finite", "dropped"])
def test_an_optimum_is_differentiated_in_them(offsets):
    problem = problem_of(ONE_HOT, offsets)
    solution = ufm.minimise(problem, key=KEY, progress=False)

    def least(shift):
        labels = with_offsets(ONE_HOT, shift)
        return ufm.minimise(problem.replace(labels=labels), key=KEY, progress=False).value

    _, dual = loss_and_dual(problem.loss, solution.logits, ONE_HOT.targets)
    wanted = dual * ONE_HOT.column_weights[None, :]
    assert_allclose(jax.grad(least)(jnp.asarray(offsets)), wanted, rtol=0, atol=1e-12)


def test_a_bound_by_random_vectors():
    problem = PROBLEMS["bias"]
    params = ufm.minimise(problem, key=KEY, progress=False).params
    how = ufm.certificates.Randomised(jax.random.key(1))
    assert ufm.certify(problem, params, randomised=how).gap < 1e-10


FREE = tuple(name for name in PROBLEMS if name.startswith("bias-") and "-s" not in name)


@pytest.mark.parametrize("name", FREE)
def test_a_free_bias_by_other_means(name):
    """SciPy's minimum of the objective written out here, and what kind of point it is."""
    problem = PROBLEMS[name]
    solution = ufm.minimise(problem, key=KEY, progress=False)
    # (frozen weights have one minimum, and these so many features that all minima are global)
    least = min(least_by_hand(problem, seed) for seed in range(2))
    assert_allclose(float(solution.value), least, rtol=1e-9)
    assert ufm.analysis.classify(problem, solution.params).kind == "minimum"


def least_by_hand(problem: ufm.Problem, seed: int) -> float:
    """The least that SciPy finds, W and H free or W frozen."""
    labels, kept = problem.labels, np.asarray(problem.labels.offsets) > -np.inf
    q, m, w = (np.asarray(x) for x in (labels.targets, labels.masses, labels.column_weights))
    shifts = np.where(kept, np.asarray(labels.offsets), 0)
    lambda_W, lambda_H = float(problem.lambda_W[0]), float(problem.lambda_H)

    def parts(flat):
        b, rest = flat[:K], flat[K:]
        given = W if problem.frozen else rest[: K * d].reshape(K, d)
        return b, given, rest[-d * K :].reshape(d, K)

    def at(flat):
        b, V, H = parts(flat)
        z = np.where(kept, V @ H + b[:, None] + shifts, -np.inf)
        values = scipy.special.logsumexp(z, axis=0) - (q * np.where(kept, z, 0)).sum(axis=0)
        value = w @ values + (lambda_W * (V**2).sum() + lambda_H * ((H**2) @ m).sum()) / 2
        pull = (scipy.special.softmax(z, axis=0) - q) * w
        of_V = [] if problem.frozen else [(pull @ H.T + lambda_W * V).ravel()]
        of_H = (V.T @ pull + lambda_H * m * H).ravel()
        return value, np.concatenate([pull.sum(axis=1), *of_V, of_H])

    size = K + (0 if problem.frozen else K * d) + d * K
    start = np.random.default_rng(seed).normal(size=size)
    options = {"gtol": 1e-11, "ftol": 1e-16, "maxiter": 5000, "maxfun": 20000}
    return scipy.optimize.minimize(at, start, jac=True, method="L-BFGS-B", options=options).fun


def test_an_infimum_that_is_not_attained():
    """Minimisers say so; far out a proof encloses it, where it is that of the class dropped."""
    problem = problem_of(ONE_HOT, LOSING, bias="free")
    for refuses in (ufm.minimise, ufm.search):
        with pytest.raises(ValueError, match=r"infimum is not attained, .* got class 1, 2, 3"):
            refuses(problem, key=KEY, progress=False)
    beyond = ufm.minimise(PROBLEMS["bias-lost"], key=KEY, progress=False)
    values = []
    for depth in (0.0, 10.0, 20.0, 60.0):
        bias = beyond.params.bias.at[1:].add(-depth)
        params = ufm.Params(beyond.params.weights, beyond.params.features, bias)
        values.append(float(ufm.model.objective(problem, params)))
        certificate = ufm.certify(problem, params)
        assert certificate.valid
        assert float(certificate.lower_bound) <= float(beyond.value)
    assert values[0] > values[1] > values[2] > values[3]
    assert_allclose(values[3], float(beyond.value), rtol=1e-14)
    proved = ufm.prove(problem, params)
    assert proved.relative_width < 1e-9
    assert proved.lower <= float(beyond.value) * (1 + 1e-15)
    checker().verify(on_file(proved))


def test_a_bound_by_random_vectors_wants_every_class():
    problem = PROBLEMS["bias-dropped"]
    params = ufm.minimise(problem, key=KEY, progress=False).params
    how = ufm.certificates.Randomised(jax.random.key(1))
    with pytest.raises(ValueError, match="finite for a bound by random vectors with a free bias"):
        ufm.certify(problem, params, randomised=how)


def test_swept_over_what_is_dropped():
    """Every lane is that problem alone; where one is refused, so is the sweep."""
    problem, shifts = PROBLEMS["bias-dropped"], [DROPPED, PARTED, SHIFTS]
    over = swept_over(problem, {"offsets": shifts})
    alone = [
        ufm.minimise(problem_of(ONE_HOT, shift, bias="free"), key=KEY, progress=False).value
        for shift in shifts
    ]
    assert_allclose(over.value, alone, rtol=1e-13)
    assert np.all(over.gap < 1e-10)
    target = np.where(np.arange(K)[:, None] == np.arange(K), -np.inf, 0.0)
    nan = np.full((K, K), np.nan)
    for last, words in (
        (LOSING, "not attained"),
        (target, "there is a target"),
        (nan, "be finite"),
    ):
        with pytest.raises(ValueError, match=words):
            ufm.sweep(problem, {"offsets": [DROPPED, last]}, key=KEY, progress=False)
