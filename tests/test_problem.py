"""The normalisation, against a slow twin that writes every sum as a loop, and what a problem
refuses."""

from __future__ import annotations

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ufm
from ufm.model import check_params, require_decay

NAN, INF = float("nan"), float("inf")

# The objective is a sum of a few hundred positive terms of size at most ten: rounding is a few eps
# of the total.
VALUE_RTOL = 1e-14
# Five-point differences of step s = 1e-3 on values of size 100: rounding 1e-14 / s = 1e-11 and
# truncation s⁴/30 × fifth derivative, of size 1e4 at depth three: 3e-10.
DIFFERENCE_STEP, DIFFERENCE_ATOL = 1e-3, 1e-8


def mean_squared_error(z, q):
    return sum((z[k] - q[k]) ** 2 for k in range(len(z))) / 2


def cross_entropy(z, q):
    return sum(-q[k] * (z[k] - np.log(sum(np.exp(z)))) for k in range(len(z)))


TWINS = {ufm.MeanSquaredError: mean_squared_error, ufm.CrossEntropy: cross_entropy}


def slow_objective(problem: ufm.Problem, params: ufm.Params) -> float:
    """The formula at the top of `ufm/model/problem.py`, entry by entry in NumPy."""
    targets, masses = np.asarray(problem.labels.targets), np.asarray(problem.labels.masses)
    K, C = targets.shape
    H, W = np.asarray(params.features), np.eye(K)
    for factor in params.weights:
        W = W @ np.asarray(factor)
    b = np.zeros(K) if params.bias is None else np.asarray(params.bias)
    total = 0.0
    for c in range(C):
        z = [sum(W[k, i] * H[i, c] for i in range(len(H))) + b[k] for k in range(K)]
        total += masses[c] / sum(masses) * TWINS[type(problem.loss)](z, targets[:, c])
        total += float(problem.lambda_H) / 2 * masses[c] * sum(h**2 for h in H[:, c])
        if problem.beta is not None:
            anchor = np.asarray(problem.anchor)[:, c]
            total += (
                float(problem.beta)
                / 2
                * masses[c]
                * sum((h - a) ** 2 for h, a in zip(H[:, c], anchor, strict=True))
            )
    for lam, factor in zip(problem.lambda_W, params.weights, strict=True):
        total += float(lam) / 2 * sum(w**2 for w in np.asarray(factor).ravel())
    if problem.bias not in (None, "free"):
        total += float(problem.lambda_b) / 2 * sum(bk**2 for bk in b)
    return total


def random_params(problem: ufm.Problem, seed: int) -> ufm.Params:
    rng = np.random.default_rng(seed)
    drawn = tuple(jnp.asarray(rng.normal(size=shape)) for shape in problem.weight_shapes)
    return ufm.Params(
        weights=problem.fixed_weights or drawn,
        features=jnp.asarray(rng.normal(size=(problem.feature_dim, problem.labels.num_columns))),
        bias=jnp.asarray(rng.normal(size=problem.labels.num_classes)) if problem.has_bias else None,
    )


def slow_slope(problem: ufm.Problem, params: ufm.Params, direction: ufm.Params) -> float:
    """Directional derivative of the slow twin by five-point differences."""

    def along(t):
        return slow_objective(problem, jax.tree.map(lambda p, v: p + t * v, params, direction))

    s = DIFFERENCE_STEP
    return (8 * (along(s) - along(-s)) - (along(2 * s) - along(-2 * s))) / (12 * s)


RNG = np.random.default_rng(7)
LABELS = {
    "full": ufm.one_hot([3, 1, 2]),
    "collapsed": ufm.one_hot([3, 1, 2], collapsed=True),
    "soft": ufm.soft(RNG.dirichlet(np.ones(3), size=5).T, RNG.uniform(0.2, 4, size=5)),
}
DEPTHS = {
    "M1": ((4,), 0.03),
    "M2": ((4, 5), (0.03, 0.2)),
    "M3-bottleneck": ((4, 2, 5), (0.03, 0.2, 0.7)),
}
BIASES = {"no-bias": None, "free-bias": "free", "penalised-bias": 0.4}


def anchored(labels: ufm.Labels) -> dict:
    return {"anchor": np.random.default_rng(3).normal(size=(4, labels.num_columns)), "beta": 0.6}


def frozen(labels: ufm.Labels) -> dict:
    return {"fixed_weights": (np.random.default_rng(4).normal(size=(labels.num_classes, 4)),)}


def build(labels="full", depth="M1", bias="no-bias", loss=None, extra=None) -> ufm.Problem:
    labels = LABELS[labels]
    widths, lambda_W = DEPTHS[depth]
    loss = ufm.MeanSquaredError() if loss is None else loss
    extra = {} if extra is None else extra(labels)
    return ufm.Problem(
        labels,
        loss=loss,
        widths=widths,
        lambda_W=lambda_W,
        lambda_H=0.05,
        bias=BIASES[bias],
        **extra,
    )


PROBLEMS = {
    **{
        f"{type(loss).__name__}-{labels}-{depth}-{bias}": build(labels, depth, bias, loss)
        for loss in (ufm.MeanSquaredError(), ufm.CrossEntropy())
        for labels in LABELS
        for depth in DEPTHS
        for bias in BIASES
    },
    "anchor-full": build("full", extra=anchored),
    "anchor-soft-M3": build(
        "soft", "M3-bottleneck", "penalised-bias", ufm.CrossEntropy(), extra=anchored
    ),
    "fixed-weights": build("full", bias="free-bias", extra=frozen),
}


@pytest.mark.parametrize("problem", PROBLEMS.values(), ids=PROBLEMS)
def test_objective_is_the_formula(problem):
    params = random_params(problem, 0)
    np.testing.assert_allclose(
        float(ufm.model.objective(problem, params)),
        slow_objective(problem, params),
        rtol=VALUE_RTOL,
    )


@pytest.mark.parametrize("problem", PROBLEMS.values(), ids=PROBLEMS)
def test_gradient_against_finite_differences(problem):
    """Along three random directions of the slow twin, so the gradient is tested against other code
    than its own."""
    params = random_params(problem, 1)
    gradient = jax.grad(ufm.model.objective, argnums=1)(problem, params)
    for seed in (2, 3, 4):
        direction = random_params(problem, seed)
        difference = slow_slope(problem, params, direction)
        slope = sum(
            float(jnp.sum(g * v))
            for g, v in zip(jax.tree.leaves(gradient), jax.tree.leaves(direction), strict=True)
        )
        np.testing.assert_allclose(slope, difference, rtol=0, atol=DIFFERENCE_ATOL)


def test_the_balanced_one_hot_objective_is_one_over_2N():
    """As the deep-linear papers write it: ‖WH − Y‖²/(2N) + λ_W‖W‖²/2 + λ_H‖H‖²/2."""
    problem = ufm.Problem(
        ufm.one_hot([4, 4, 4]),
        loss=ufm.MeanSquaredError(),
        widths=(5,),
        lambda_W=0.1,
        lambda_H=0.01,
    )
    params = random_params(problem, 5)
    W, H, Y = (np.asarray(a) for a in (params.weights[0], params.features, problem.labels.targets))
    expected = np.sum((W @ H - Y) ** 2) / 24 + 0.05 * np.sum(W**2) + 0.005 * np.sum(H**2)
    np.testing.assert_allclose(
        float(ufm.model.objective(problem, params)), expected, rtol=VALUE_RTOL
    )


def test_the_anchor_and_decay_by_hand():
    # two columns of mass 1 and 3; h = (1, 2), anchor (0, 4), W = (1, 1)ᵀ, b = (2, 0): loss
    # ¼·½((1+2-1)² + 1²) + ¾·½((2+2)² + (2-1)²) = 0.625 + 6.375; decay ½·0.5·2 + ½·0.1·(1 + 3·4) +
    # ½·0.2·(1 + 3·4) + ½·0.3·4
    labels = ufm.soft(np.eye(2), [1, 3])
    problem = ufm.Problem(
        labels,
        loss=ufm.MeanSquaredError(),
        widths=(1,),
        lambda_W=0.5,
        lambda_H=0.1,
        bias=0.3,
        anchor=np.array([[0.0, 4.0]]),
        beta=0.2,
    )
    params = ufm.Params(
        weights=(jnp.ones((2, 1)),), features=jnp.array([[1.0, 2.0]]), bias=jnp.array([2.0, 0.0])
    )
    np.testing.assert_allclose(
        float(ufm.model.objective(problem, params)), 7.0 + 0.5 + 0.65 + 1.3 + 0.6, rtol=VALUE_RTOL
    )


@pytest.mark.parametrize("loss", [ufm.MeanSquaredError(), ufm.CrossEntropy()], ids=["mse", "ce"])
@pytest.mark.parametrize("bias", BIASES)
@pytest.mark.parametrize("depth", DEPTHS)
def test_collapsed_equals_full_at_collapsed_points(loss, bias, depth):
    full, collapsed = build("full", depth, bias, loss), build("collapsed", depth, bias, loss)
    at_classes = random_params(collapsed, 6)
    at_samples = ufm.Params(
        at_classes.weights, at_classes.features[:, full.labels.class_index], at_classes.bias
    )
    np.testing.assert_allclose(
        ufm.model.objective(full, at_samples),
        ufm.model.objective(collapsed, at_classes),
        rtol=VALUE_RTOL,
    )


@pytest.mark.parametrize("loss", [ufm.MeanSquaredError(), ufm.CrossEntropy()], ids=["mse", "ce"])
def test_spreading_features_within_a_class_never_helps(loss):
    """The reason why collapsed columns have the same optimum.

    The objective is strictly convex in each feature.
    """
    full, collapsed = build("full", loss=loss), build("collapsed", loss=loss)
    params = random_params(full, 8)
    means = ufm.Params(
        params.weights, ufm.labels.collapse(full.labels, params.features), params.bias
    )
    assert float(ufm.model.objective(full, params)) > float(
        ufm.model.objective(collapsed, means)
    ) * (1 + 1e-3)


@pytest.mark.parametrize("depth", DEPTHS)
def test_logits(depth):
    problem = build("soft", depth, "free-bias")
    params = random_params(problem, 9)
    slow = np.asarray(params.features)
    for factor in reversed(params.weights):
        slow = np.asarray(factor) @ slow
    np.testing.assert_allclose(
        params.logits, slow + np.asarray(params.bias)[:, None], rtol=1e-12, atol=1e-13
    )
    assert params.classifier.shape == (3, 4)


def test_what_a_problem_says_of_itself():
    problem = build("soft", "M3-bottleneck", "penalised-bias")
    assert (problem.depth, problem.feature_dim, problem.bias, problem.has_bias) == (
        3,
        4,
        "penalised",
        True,
    )
    # outermost first: W_3 is (K, d_3), W_2 is (d_3, d_2), W_1 is (d_2, d_1)
    assert problem.weight_shapes == ((3, 5), (5, 2), (2, 4))
    np.testing.assert_array_equal(problem.lambda_W, [0.03, 0.2, 0.7])
    np.testing.assert_array_equal(build("soft", "M1").lambda_W, [0.03])
    assert problem.dtype == np.float64
    assert not build().has_bias
    assert ufm.Problem(
        LABELS["full"], loss=ufm.CrossEntropy(), widths=[4, 4], lambda_W=1, lambda_H=1
    ).widths == (4, 4)


def test_sweeping_values_does_not_retrace():
    traces = []

    @jax.jit
    def value(problem, params):
        traces.append(1)
        return ufm.model.objective(problem, params)

    def problem(lam=0.1, counts=(3, 1, 2), bias=0.2, beta=0.3, anchor=1.0):
        labels = ufm.one_hot(counts, collapsed=True)
        return ufm.Problem(
            labels,
            loss=ufm.CrossEntropy(),
            widths=(4,),
            lambda_W=lam,
            lambda_H=lam,
            bias=bias,
            beta=beta,
            anchor=np.full((4, 3), anchor),
        )

    params = random_params(problem(), 0)
    values = {float(value(problem(**change), params)) for change in ({}, {"lam": 0.2}, {"lam": 1})}
    values |= {
        float(value(problem(**change), params))
        for change in ({"counts": (5, 5, 1)}, {"bias": 1}, {"beta": 2}, {"anchor": 0.0})
    }
    assert len(values) == 7
    assert len(traces) == 1


def test_a_problem_can_be_built_inside_jit_and_vmap():
    labels = ufm.one_hot([2, 2], collapsed=True)

    def value(lam, masses):
        problem = ufm.Problem(
            ufm.Labels(labels.targets, masses),
            loss=ufm.MeanSquaredError(),
            widths=(2,),
            lambda_W=lam,
            lambda_H=lam,
            bias=lam,
        )
        return ufm.model.objective(problem, ufm.Params((jnp.eye(2),), jnp.eye(2), jnp.ones(2)))

    # loss ½·2 (every bias is 1 too high), decay ½λ(2 + Σm + 2)
    batched = jax.jit(jax.vmap(value))(jnp.array([0.0, 1.0]), jnp.array([[2.0, 2.0], [1.0, 3.0]]))
    np.testing.assert_allclose(batched, [1, 1 + 0.5 * 8], rtol=VALUE_RTOL)


def test_zero_decay_is_a_problem_but_not_for_a_minimiser():
    problem = ufm.Problem(
        LABELS["full"], loss=ufm.MeanSquaredError(), widths=(4,), lambda_W=0.0, lambda_H=0.0
    )
    assert np.isfinite(float(ufm.model.objective(problem, random_params(problem, 0))))
    with pytest.raises(ValueError, match="`lambda_W` must be finite and > 0 for minimising"):
        require_decay(problem, "minimising")
    with pytest.raises(ValueError, match="`lambda_H` must be finite and > 0 for minimising"):
        require_decay(
            ufm.Problem(
                LABELS["full"], loss=ufm.MeanSquaredError(), widths=(4,), lambda_W=0.1, lambda_H=0.0
            ),
            "minimising",
        )
    # a frozen factor needs no decay, and an anchor holds the features by itself
    extra = frozen(LABELS["full"]) | anchored(LABELS["full"])
    require_decay(
        ufm.Problem(
            LABELS["full"],
            loss=ufm.MeanSquaredError(),
            widths=(4,),
            lambda_W=0.0,
            lambda_H=0.0,
            **extra,
        ),
        "minimising",
    )


def refused(**change):
    """A problem that would be accepted but for `change`."""
    given = {
        "labels": LABELS["full"],
        "loss": ufm.MeanSquaredError(),
        "widths": (4, 5),
        "lambda_W": 0.1,
        "lambda_H": 0.1,
    } | change
    return lambda: ufm.Problem(given.pop("labels"), **given)


SINGLE = np.float32
REFUSED = (
    ("no-decay-of-factors", refused(lambda_W=None), r"`lambda_W` must be given .*; got None"),
    ("no-decay-of-features", refused(lambda_H=None), r"`lambda_H` must be given .*; got None"),
    (
        "no-decay-of-an-inner-factor",
        refused(lambda_W=None, classifier=ufm.domains.Sphere(1.0), widths=(4, 5)),
        r"`lambda_W` must be given .* where no domain holds every factor; got None",
    ),
    ("labels-array", refused(labels=np.eye(3)), r"`labels` must be ufm.Labels; .*; got ndarray"),
    (
        "loss-class",
        refused(loss=ufm.MeanSquaredError),
        r"`loss` must be a loss instance such as ufm.MeanSquaredError\(\); got the class "
        r"MeanSquaredError",
    ),
    (
        "loss-function",
        refused(loss=lambda logits, target: 0.0),
        r"`loss` must be a loss instance .*; got function",
    ),
    ("loss-word", refused(loss="mse"), r"`loss` must be a loss instance .*; got str"),
    (
        "widths-empty",
        refused(widths=()),
        r"`widths` must be a tuple \(d_1, …, d_M\) with M >= 1; got \(\)",
    ),
    ("widths-number", refused(widths=4), r"`widths` must be a tuple .*; got 4"),
    ("widths-zero", refused(widths=(4, 0)), r"`widths\[1\]` must be a whole number >= 1; got 0"),
    (
        "widths-negative",
        refused(widths=(-4,)),
        r"`widths\[0\]` must be a whole number >= 1; got -4",
    ),
    (
        "widths-fraction",
        refused(widths=(4.0, 5)),
        r"`widths\[0\]` must be a whole number >= 1; got 4.0",
    ),
    (
        "widths-bool",
        refused(widths=(True, 5)),
        r"`widths\[0\]` must be a whole number >= 1; got True",
    ),
    ("lambda_W-negative", refused(lambda_W=-0.1), r"`lambda_W` must be finite and >= 0; got -0.1"),
    (
        "lambda_W-one-negative",
        refused(lambda_W=(0.1, -0.1)),
        r"`lambda_W` must be finite and >= 0; got \(0.1, -0.1\)",
    ),
    ("lambda_W-nan", refused(lambda_W=NAN), r"`lambda_W` must be finite and >= 0; got nan"),
    (
        "lambda_W-three-of-two",
        refused(lambda_W=(1, 1, 1)),
        r"`lambda_W` must be a float or one float per factor \(M = 2\); got \(1, 1, 1\)",
    ),
    ("lambda_H-negative", refused(lambda_H=-1), r"`lambda_H` must be finite and >= 0; got -1"),
    ("lambda_H-infinite", refused(lambda_H=INF), r"`lambda_H` must be finite and >= 0; got inf"),
    (
        "lambda_H-vector",
        refused(lambda_H=(0.1, 0.1)),
        r"`lambda_H` must be one real number; got \(2,\)",
    ),
    (
        "bias-word",
        refused(bias="penalised"),
        r"`bias` must be None, \"free\" or a penalty > 0; got 'penalised'",
    ),
    (
        "bias-zero",
        refused(bias=0.0),
        r'`bias` must be finite and > 0 as a penalty \(an unpenalised bias is "free"\); got 0.0',
    ),
    ("bias-negative", refused(bias=-1.0), r"`bias` must be finite and > 0 .*; got -1.0"),
    (
        "bias-vector",
        refused(bias=(0.1, 0.1, 0.1)),
        r'`bias` must be None, "free" or a penalty > 0; got \(0.1',
    ),
    ("bias-true", refused(bias=True), r'`bias` must be None, "free" or a penalty > 0; got True'),
    ("beta-alone", refused(beta=0.1), r"`anchor` and `beta` must be given together; got"),
    (
        "anchor-alone",
        refused(anchor=np.zeros((4, 6))),
        r"`anchor` and `beta` must be given together; got",
    ),
    (
        "beta-zero",
        refused(beta=0.0, anchor=np.zeros((4, 6))),
        r"`beta` must be finite and > 0; got 0.0",
    ),
    (
        "beta-vector",
        refused(beta=(1, 1), anchor=np.zeros((4, 6))),
        r"`beta` must be one real number; got \(2,\)",
    ),
    (
        "anchor-shape",
        refused(beta=1, anchor=np.zeros((6, 4))),
        r"`anchor` must have shape \(4, 6\); got \(6, 4\)",
    ),
    (
        "anchor-nan",
        refused(beta=1, anchor=np.full((4, 6), NAN)),
        r"`anchor` must be finite; got \[nan",
    ),
    (
        "anchor-float32",
        refused(beta=1, anchor=np.zeros((4, 6), SINGLE)),
        r"`anchor` must have the problem's dtype float64; got float32",
    ),
    (
        "fixed-one-of-two",
        refused(fixed_weights=(np.zeros((3, 5)),)),
        r"`fixed_weights` must hold the M = 2 factors .*; got 1",
    ),
    (
        "fixed-innermost-first",
        refused(fixed_weights=(np.zeros((5, 4)), np.zeros((3, 5)))),
        r"`fixed_weights\[0\]` must have shape \(3, 5\); got \(5, 4\)",
    ),
    (
        "fixed-float32",
        refused(fixed_weights=(np.zeros((3, 5)), np.zeros((5, 4), SINGLE))),
        r"`fixed_weights\[1\]` must have the problem's dtype float64; got float32",
    ),
    (
        "lambda_W-float32",
        refused(lambda_W=SINGLE(0.1)),
        r"`lambda_W` must have the problem's dtype float64; got float32",
    ),
    (
        "lambda_H-float32",
        refused(lambda_H=SINGLE(0.1)),
        r"`lambda_H` must have the problem's dtype float64; got float32",
    ),
)


@pytest.mark.parametrize(
    ("call", "match"), [pytest.param(*case[1:], id=case[0]) for case in REFUSED]
)
def test_refused(call, match):
    with pytest.raises(ValueError, match=match):
        call()


class OwnLoss(ufm.losses.AbstractLoss):
    """Squared error of one's own, `reduced` over so many axes; it counts how often it is asked."""

    reduced: tuple[int, ...] | None = eqx.field(static=True, default=(0,))
    asked: ClassVar[list] = []

    def __call__(self, logits, targets):
        self.asked.append(logits.shape)
        return jnp.sum((logits - targets) ** 2, axis=self.reduced)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        pytest.param(
            OwnLoss(None),
            r"`loss` must give one number for each column, shape \(9,\), of .*; got \(\)",
            id="one-number",
        ),
        pytest.param(
            OwnLoss((1,)),
            r"`loss` must give one number for each column, .*; got \(3,\)",
            id="one-a-class",
        ),
        pytest.param(
            ufm.losses.AdjustedCrossEntropy(additive=np.zeros(4)),
            r"`loss` must take logits .*\(3, 9\); got ValueError",
            id="four-classes",
        ),
    ],
)
def test_a_loss_that_does_not_give_one_number_a_column_is_refused(loss, message):
    labels = ufm.one_hot((2, 3, 4))
    with pytest.raises(ValueError, match=message):
        ufm.Problem(labels, loss=loss, widths=(3,), lambda_W=0.1, lambda_H=0.1)
    sparse = ufm.labels.sparse_soft(np.zeros((1, 9), int), np.ones((1, 9)), num_classes=3)
    with pytest.raises(ValueError, match=message):
        ufm.Problem(sparse, loss=loss, widths=(3,), lambda_W=0.1, lambda_H=0.1)


def test_a_loss_is_asked_for_its_shape_once():
    """Thousands of problems are made in a sweep.

    To trace a loss takes longer than to make a problem.
    """
    labels, loss = ufm.one_hot((7, 8, 9)), OwnLoss()
    OwnLoss.asked.clear()
    for lam in (0.1, 0.2, 0.3):
        ufm.Problem(labels, loss=loss, widths=(3,), lambda_W=lam, lambda_H=lam)
    assert OwnLoss.asked == [(3, 24)]


def test_what_is_refused_is_close_to_what_is_accepted():
    """Else every row of the table above could be refused for a reason of its own."""
    assert refused()().depth == 2


BIASED = build("full", "M2", "free-bias")
GOOD = random_params(BIASED, 0)


def params(**change) -> ufm.Params:
    return ufm.Params(
        **({"weights": GOOD.weights, "features": GOOD.features, "bias": GOOD.bias} | change)
    )


PARAMS_REFUSED = (
    ("not-params", lambda: GOOD.features, r"`start` must be ufm.Params; got "),
    (
        "one-factor",
        lambda: params(weights=GOOD.weights[:1]),
        r"`start.weights` must hold the M = 2 factors .*; got 1",
    ),
    (
        "innermost-first",
        lambda: params(weights=GOOD.weights[::-1]),
        r"`start.weights\[0\]` must have shape \(3, 5\); got \(5, 4\)",
    ),
    (
        "transposed-features",
        lambda: params(features=GOOD.features.T),
        r"`start.features` must have shape \(4, 6\); got \(6, 4\)",
    ),
    ("no-bias", lambda: params(bias=None), r"`start.bias` must be an array; got None"),
    (
        "bias-column",
        lambda: params(bias=GOOD.bias[:, None]),
        r"`start.bias` must have shape \(3,\); got \(3, 1\)",
    ),
    (
        "float32",
        lambda: params(features=GOOD.features.astype(SINGLE)),
        r"`start.features` must have the problem's dtype float64; got float32",
    ),
    ("nan", lambda: params(bias=jnp.array([0, NAN, 0])), r"`start.bias` must be finite; got"),
)


@pytest.mark.parametrize(
    ("given", "match"), [pytest.param(*case[1:], id=case[0]) for case in PARAMS_REFUSED]
)
def test_params_refused(given, match):
    with pytest.raises(ValueError, match=match):
        check_params(BIASED, given(), name="start")


def test_params_accepted():
    checked = check_params(BIASED, params(bias=np.array([1, 2, 3])))
    assert checked.bias.dtype == np.float64
    np.testing.assert_array_equal(checked.features, GOOD.features)
    with pytest.raises(ValueError, match=r"`params\.bias` must be None"):
        check_params(build("full", "M2"), GOOD)


def test_weights_are_the_fixed_ones():
    W = np.random.default_rng(5).normal(size=(3, 5)), np.random.default_rng(6).normal(size=(5, 4))
    problem = BIASED.replace(fixed_weights=W)
    own = params(weights=W)
    assert check_params(problem, own).weights[1] is not W[1]
    other = params(weights=(W[0], 5 * W[1]))
    match = r"`start.weights\[1\]` must be `problem.fixed_weights\[1\]`; got entries that differ "
    with pytest.raises(ValueError, match=match):
        check_params(problem, other, name="start")
    for verb in (ufm.model.objective, ufm.certify, ufm.prove, ufm.metrics.measure_params):
        with pytest.raises(ValueError, match=r"`params.weights\[1\]` must be"):
            verb(problem, other)
    # which nobody can know inside a program
    assert np.isfinite(jax.jit(ufm.model.objective)(problem, other))


def test_what_holds_a_factor_is_enough():
    """A domain, an anchor, fixed weights: decay is zero there unless given."""
    given = {"loss": ufm.CrossEntropy(), "widths": (3,)}
    sphere, labels = ufm.domains.Sphere(2.0), ufm.one_hot((2, 1))
    bounded = ufm.Problem(labels, features=sphere, classifier=sphere, **given)
    anchor = {"anchor": np.ones((3, labels.num_columns)), "beta": 1.0}
    fixed = ufm.Problem(labels, fixed_weights=(np.eye(2, 3),), **anchor, **given)
    for problem in (bounded, fixed):
        assert problem.lambda_W.tolist() == [0.0]
        assert float(problem.lambda_H) == 0
    with pytest.raises(ValueError, match=r"`lambda_H` must be given"):
        ufm.Problem(labels, features=ufm.domains.Nonnegative(), classifier=sphere, **given)
    assert float(bounded.replace(features=ufm.domains.Ball(1.0)).lambda_H) == 0
    for problem, gone in ((bounded, "classifier"), (bounded, "features"), (fixed, "fixed_weights")):
        change = {gone: None if gone == "fixed_weights" else ufm.domains.Real()}
        decay = "lambda_H" if gone == "features" else "lambda_W"
        with pytest.raises(ValueError, match=rf"`{decay}` must be given"):
            problem.replace(**change)
        assert np.all(getattr(problem.replace(**change, **{decay: 0.0}), decay) == 0)


def test_single_precision_stays_single():
    labels = ufm.one_hot([2, 2], dtype=SINGLE)
    problem = ufm.Problem(
        labels, loss=ufm.CrossEntropy(), widths=(3,), lambda_W=0.1, lambda_H=0.1, bias=0.1
    )
    given = ufm.Params(
        weights=(jnp.ones((2, 3), SINGLE),),
        features=jnp.ones((3, 4), SINGLE),
        bias=jnp.zeros(2, SINGLE),
    )
    assert ufm.model.objective(problem, given).dtype == SINGLE
    assert problem.lambda_W.dtype == problem.lambda_H.dtype == problem.lambda_b.dtype == SINGLE


def test_replacing_the_activation_replaces_the_map():
    problem = ufm.Problem(
        ufm.one_hot((2, 2)), loss=ufm.CrossEntropy(), widths=(2, 3), lambda_W=0.1, lambda_H=0.1
    )
    relu = problem.replace(activation="relu")
    assert relu.map == ufm.maps.Activated("relu")
    assert relu.replace(lambda_H=0.2).map == relu.map
    assert relu.replace(activation="tanh").map == ufm.maps.Activated("tanh")
    assert relu.replace(activation=None).map == problem.map
    with pytest.raises(ValueError, match="`activation` must not be given together with `map`"):
        problem.replace(activation="relu", map=relu.map)
    with pytest.raises(ValueError, match=r"`changes` must be among .*activation; got \['slope'\]"):
        problem.replace(slope=1.0)
