"""Losses against written-out sums, and their conjugates by Fenchel–Young.

Equality at u = ∇ℓ(z), inequality elsewhere.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ufm
from ufm.labels import smoothed as smoothed_labels
from ufm.losses import (
    AbstractLoss,
    AdjustedCrossEntropy,
    Focal,
    RescaledSquaredError,
    Sum,
    loss_and_dual,
)
from ufm.losses.softmax_rows import EntropyRows

LOSSES = (pytest.param(ufm.MeanSquaredError(), id="mse"), pytest.param(ufm.CrossEntropy(), id="ce"))
# parameters of three classes
ADJUSTED = AdjustedCrossEntropy(multiplicative=[1.0, 0.5, 2.0], additive=[0.3, -1.0, 0.0])
SHIFTED = AdjustedCrossEntropy(additive=[0.3, -1.0, 0.0])
RESCALED = RescaledSquaredError(length=3.0, weight=5.0)
MORE = (
    *LOSSES,
    pytest.param(RESCALED, id="rescaled-mse"),
    pytest.param(ADJUSTED, id="adjusted-ce"),
)

logits = st.lists(st.floats(-30, 30), min_size=2, max_size=6)


def smoothed(K: int, k: int, amount: float) -> jax.Array:
    return (1 - amount) * jax.nn.one_hot(k, K, dtype=float) + amount / K


def test_squared_error_by_hand():
    # ((1 - 1)² + (3 - 0)² + (-2 - 0)²) / 2
    assert (
        float(ufm.MeanSquaredError()(jnp.array([1.0, 3.0, -2.0]), jnp.array([1.0, 0.0, 0.0])))
        == 6.5
    )


@given(z=logits, amount=st.floats(0, 1))
def test_cross_entropy_is_minus_sum_q_log_p(z, amount):
    q = smoothed(len(z), 0, amount)
    p = np.exp(np.array(z) - max(z))
    p /= p.sum()
    slow = -np.sum(np.asarray(q) * np.log(p))
    # a difference of two numbers of at most 31, each to a few eps
    np.testing.assert_allclose(
        float(ufm.CrossEntropy()(jnp.array(z), q)), slow, rtol=0, atol=31 * 1e-15
    )


@pytest.mark.parametrize(
    ("z", "expected"),
    [
        pytest.param([1000.0, 0.0], 0.0, id="right-by-far"),
        pytest.param([0.0, 1000.0], 1000.0, id="wrong-by-far"),
        pytest.param([0.0, 0.0], np.log(2), id="undecided"),
    ],
)
def test_cross_entropy_does_not_overflow(z, expected):
    loss, gradient = jax.value_and_grad(ufm.CrossEntropy())(jnp.array(z), jnp.array([1.0, 0.0]))
    assert float(loss) == expected
    assert np.isfinite(gradient).all()


def test_rows_do_not_see_by_how_much_rounded_targets_miss_one():
    """Five roundings of the sum, times a common shift of the logits, would be 1e-9 of the value."""
    logits = jnp.array([[0.0, 1.0, -2.0]])
    targets = jnp.array([[0.5, 0.25, 0.25 + 5 * np.finfo(float).eps]])
    assert float(jnp.sum(targets)) > 1
    rows = EntropyRows(jnp.ones(()))
    shifted, plain = (rows.at(logits + shift, targets) for shift in (2.0**20, 0.0))
    for here, there in zip(shifted, plain, strict=True):
        np.testing.assert_allclose(here, there, rtol=1e-15)


@pytest.mark.parametrize("loss", LOSSES)
@given(z=logits, amount=st.floats(0, 1))
def test_fenchel_young_equality(loss, z, amount):
    z, q = jnp.array(z), smoothed(len(z), 1, amount)
    dual = jax.grad(loss)(z, q)
    # each side sums products of logits and duals, of size at most 6 · 31² / 2 for squared error, in
    # eps = 2.2e-16
    scale = float(jnp.sum(z**2) + 1)
    np.testing.assert_allclose(
        float(loss(z, q) + loss.conjugate(dual, q)), float(z @ dual), rtol=0, atol=1e-15 * scale
    )


@pytest.mark.parametrize("loss", LOSSES)
@given(z=logits, data=st.data())
def test_fenchel_young_inequality(loss, z, data):
    z = jnp.array(z)
    q = smoothed(len(z), 0, data.draw(st.floats(0, 1)))
    other = jnp.array(data.draw(st.lists(st.floats(-30, 30), min_size=len(z), max_size=len(z))))
    # a dual in the domain of the conjugate that belongs to another point
    dual = jax.grad(loss)(other, q)
    surplus = float(loss(z, q) + loss.conjugate(dual, q) - z @ dual)
    assert surplus >= -1e-15 * float(jnp.sum(z**2) + jnp.sum(other**2) + 1)
    # ℓ(z) - ℓ(o) - ∇ℓ(o)·(z - o) is half the squared distance for squared error
    if isinstance(loss, ufm.MeanSquaredError):
        np.testing.assert_allclose(
            surplus, 0.5 * float(jnp.sum((z - other) ** 2)), rtol=0, atol=1e-12
        )


@pytest.mark.parametrize(
    ("dual", "expected"),
    [
        pytest.param([0.0, 0.0], 0.0, id="vertex-at-q"),
        pytest.param([-1.0, 1.0], 0.0, id="other-vertex"),
        pytest.param([-0.5, 0.5], -np.log(2), id="centre"),
        pytest.param([0.1, -0.1], np.inf, id="negative-entry"),
        pytest.param([0.0, 0.1], np.inf, id="sums-to-more-than-one"),
        pytest.param([-0.5, 0.4], np.inf, id="sums-to-less-than-one"),
        # rounding of an exact point is forgiven, a real violation of 1e-9 is not
        pytest.param([1e-16, -1e-16], 0.0, id="rounding"),
        pytest.param([1e-9, -1e-9], np.inf, id="small-violation"),
    ],
)
def test_conjugate_of_cross_entropy_lives_on_the_simplex(dual, expected):
    value = float(ufm.CrossEntropy().conjugate(jnp.array(dual), jnp.array([1.0, 0.0])))
    assert value == expected or abs(value - expected) < 1e-15


def test_the_conjugate_of_cross_entropy_has_all_its_digits():
    """At every probability of the class: log1p of JAX on a CPU has not, between −0.5 and −0.29."""
    p = np.linspace(0.005, 0.995, 199)
    targets = jnp.asarray(np.stack([np.ones_like(p), np.zeros_like(p)]))
    dual = jnp.asarray(np.stack([p - 1, 1 - p]))
    # q + u as it is stored
    a, b = (np.asarray(array, np.longdouble) for array in (targets[0] + dual[0], dual[1]))
    expected = a * np.log(a) + b * np.log(b)
    np.testing.assert_allclose(
        ufm.CrossEntropy().conjugate(dual, targets), expected.astype(float), rtol=1e-15
    )


@pytest.mark.parametrize("loss", MORE)
def test_the_conjugate_is_the_supremum(loss):
    """Against the definition, by Newton's method on z ↦ uᵀz − ℓ(z) from zero, nothing assumed about
    the maximiser."""
    q = jnp.array([0.7, 0.2, 0.1])
    # in the domain of the conjugate whatever the loss: a gradient
    dual = jax.grad(loss)(jnp.array([0.2, -0.4, 0.3]), q)

    def gain(z):
        return jnp.dot(dual, z) - loss(z, q)

    z = jnp.zeros(3)
    for _ in range(50):
        # pinv: cross-entropy is flat along the ones vector
        z = z - jnp.linalg.pinv(jax.hessian(gain)(z), hermitian=True) @ jax.grad(gain)(z)
    np.testing.assert_allclose(jax.grad(gain)(z), np.zeros(3), rtol=0, atol=1e-14)
    np.testing.assert_allclose(float(loss.conjugate(dual, q)), float(gain(z)), rtol=0, atol=1e-14)


SUM = Sum((ufm.CrossEntropy(), RESCALED), (0.3, 2.0))


@pytest.mark.parametrize("loss", [*MORE, pytest.param(SUM, id="sum")])
def test_no_logits_have_less_than_the_least(loss):
    """Soft targets, by Newton's method from zero; and hard ones, of which no loss is negative."""
    q = jnp.array([0.7, 0.2, 0.1])
    z = jnp.zeros(3)
    for _ in range(50):
        z = z - jnp.linalg.pinv(jax.hessian(loss)(z, q), hermitian=True) @ jax.grad(loss)(z, q)
    least = loss.least(jnp.stack([q, jnp.array([0.0, 1.0, 0.0])], axis=1))
    assert least[0] <= loss(z, q)
    assert -1e-12 < least[1] <= 0
    # the parts of a sum are not least at the same logits
    assert loss is SUM or loss(z, q) - least[0] < 1e-13


@pytest.mark.parametrize("loss", MORE)
def test_the_conjugate_has_a_finite_gradient_inside_its_domain(loss):
    gradient = jax.grad(loss.conjugate)(jnp.array([-0.3, 0.1, 0.2]), jnp.array([0.7, 0.2, 0.1]))
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("loss", [*MORE, pytest.param(Focal(1.5), id="focal")])
def test_many_samples_at_once_are_each_by_itself(loss):
    rng = np.random.default_rng(0)
    z, q = jnp.asarray(rng.standard_normal((3, 4))), jnp.asarray(rng.dirichlet(np.ones(3), 4).T)
    alone = jnp.stack([loss(z[:, c], q[:, c]) for c in range(4)])
    np.testing.assert_allclose(loss(z, q), alone, rtol=1e-14)
    # the loss of two lanes, with the lanes last in its parameters as in the logits
    double = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf], axis=-1), loss)
    pair = double(jnp.stack([z, -z], axis=-1), jnp.stack([q, q], axis=-1))
    twice = jax.tree.map(lambda leaf: 2 * leaf, loss)
    np.testing.assert_allclose(pair, jnp.stack([alone, twice(-z, q)], axis=-1), rtol=1e-14)
    if loss.convex:
        dual = jax.vmap(jax.grad(loss), in_axes=1, out_axes=1)(z, q)
        conjugates = jnp.stack([loss.conjugate(dual[:, c], q[:, c]) for c in range(4)])
        np.testing.assert_allclose(loss.conjugate(dual, q), conjugates, rtol=1e-14)
        np.testing.assert_allclose(loss_and_dual(loss, z, q)[1], dual, rtol=1e-14, atol=1e-16)


def test_rescaled_squared_error_by_hand():
    # weight 5 on the true class, target 3 there: (5 (1 - 3)² + (3 - 0)² + (-2 - 0)²) / 2
    assert float(RESCALED(jnp.array([1.0, 3.0, -2.0]), jnp.array([1.0, 0.0, 0.0]))) == 16.5


def test_adjusted_cross_entropy_by_hand():
    # adjusted logits (1 · 2 + 0.3, 0.5 · 4 − 1, 2 · 0.5)
    expected = np.log(np.sum(np.exp([2.3, 1.0, 1.0]))) - 1.0
    np.testing.assert_allclose(
        float(ADJUSTED(jnp.array([2.0, 4.0, 0.5]), jnp.array([0.0, 1.0, 0.0]))),
        expected,
        rtol=1e-15,
    )


@given(z=logits, gamma=st.floats(0, 5))
def test_focal_is_the_written_out_sum(z, gamma):
    p = np.exp(np.array(z) - max(z))
    p /= p.sum()
    slow = -((1 - p[0]) ** gamma) * np.log(p[0])
    # 1 − p is known to a few eps; its γ-th power, for γ < 1, only to as many eps^γ, times a −log p
    # that is as small as 1 − p there
    np.testing.assert_allclose(
        float(Focal(gamma)(jnp.array(z), smoothed(len(z), 0, 0.0))), slow, rtol=1e-13, atol=1e-14
    )


@pytest.mark.parametrize(
    ("loss", "like"),
    [
        pytest.param(Focal(0), ufm.CrossEntropy(), id="focal-gamma-0"),
        pytest.param(RescaledSquaredError(), ufm.MeanSquaredError(), id="rescaled-by-1"),
        pytest.param(
            AdjustedCrossEntropy(additive=np.zeros(3)), ufm.CrossEntropy(), id="adjusted-by-nothing"
        ),
        pytest.param(
            AdjustedCrossEntropy(additive=np.full(3, 7.0)),
            ufm.CrossEntropy(),
            id="adjusted-by-a-common-shift",
        ),
    ],
)
def test_the_limit_of_a_loss(loss, like):
    z, q = jnp.array([0.3, -1.2, 4.0]), jnp.array([0.0, 1.0, 0.0])
    np.testing.assert_allclose(float(loss(z, q)), float(like(z, q)), rtol=1e-14)


@pytest.mark.parametrize(
    ("loss", "simplest"),
    [
        pytest.param(Focal(0), ufm.CrossEntropy(), id="focal-gamma-0"),
        pytest.param(
            RescaledSquaredError(length=1, weight=1), ufm.MeanSquaredError(), id="rescaled-by-1"
        ),
        pytest.param(
            AdjustedCrossEntropy(additive=np.zeros(3)), ufm.CrossEntropy(), id="adjusted-by-nothing"
        ),
        pytest.param(
            AdjustedCrossEntropy(multiplicative=np.ones(3), additive=np.full(3, 7.0)),
            ufm.CrossEntropy(),
            id="common-shift",
        ),
    ],
)
def test_canonical_form(loss, simplest):
    assert type(loss.canonical()) is type(simplest)
    assert simplest.canonical() is simplest


@pytest.mark.parametrize(
    "loss",
    [
        pytest.param(Focal(1e-9), id="focal"),
        pytest.param(RescaledSquaredError(length=2.0), id="length"),
        pytest.param(RescaledSquaredError(weight=2.0), id="weight"),
        pytest.param(AdjustedCrossEntropy(additive=[0.0, 1e-9, 0.0]), id="unequal-shifts"),
        pytest.param(AdjustedCrossEntropy(multiplicative=[2.0, 2.0, 2.0]), id="temperature"),
    ],
)
def test_what_is_no_other_loss_stays_itself(loss):
    assert loss.canonical() is loss


@pytest.mark.parametrize(
    "loss", [Focal(0), RescaledSquaredError(), AdjustedCrossEntropy(additive=np.zeros(3))]
)
def test_a_traced_loss_stays_itself(loss):
    @jax.jit
    def kind_stays(loss):
        assert loss.canonical() is loss
        return jnp.zeros(())

    kind_stays(loss)
    # nor are lanes of parameters taken for the parameters of one loss
    lanes = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf + 1]), loss)
    assert lanes.canonical() is lanes


@pytest.mark.parametrize(
    "loss", [*MORE, pytest.param(Focal(1.5), id="focal"), pytest.param(SHIFTED, id="shifted-ce")]
)
def test_flat_directions_and_common_shifts_are_those_that_it_has(loss):
    z, q = jnp.array([0.3, -1.2, 0.4]), jnp.array([0.1, 0.7, 0.2])
    common = float(loss(z + 0.5, q))
    assert (abs(common - float(loss(z, q))) < 1e-14) == loss.shift_invariant
    direction = loss.flat_direction(3)
    hessian = jax.hessian(loss)(z, q)
    assert np.sum(np.abs(np.linalg.eigvalsh(hessian)) < 1e-13) == (direction is not None)
    if direction is not None:
        np.testing.assert_allclose(
            float(loss(z + 0.5 * direction, q)), float(loss(z, q)), rtol=1e-14
        )


def test_names_and_parameters_are_read_from_the_class():
    assert [
        (loss.name, loss.parameters())
        for loss in (ufm.CrossEntropy, Focal, RescaledSquaredError, AdjustedCrossEntropy)
    ] == [
        ("cross-entropy", ()),
        ("focal", ("gamma",)),
        ("rescaled-squared-error", ("length", "weight")),
        ("adjusted-cross-entropy", ("multiplicative", "additive")),
    ]
    assert (str(Focal(2)), str(RESCALED)) == (
        "Focal(gamma=2)",
        "RescaledSquaredError(length=3, weight=5)",
    )
    assert (
        str(ADJUSTED) == "AdjustedCrossEntropy(multiplicative=[1, 0.5, 2], additive=[0.3, -1, 0])"
    )


class Derived(ufm.CrossEntropy):
    """Neither a name, nor a conjugate of its own."""


class Bare(AbstractLoss):
    """A value and nothing else."""

    sharpness: float = 1.0

    def __call__(self, logits, targets):
        return self.sharpness * jnp.sum(jnp.log(jnp.cosh(logits - targets)), axis=0)


def test_a_loss_of_ones_own_needs_a_value_and_no_more(key):
    assert (Bare.name, Derived.name) == ("Bare", "Derived")
    assert Bare.parameters() == ("sharpness",)
    problem = ufm.Problem(
        ufm.one_hot((4, 2), collapsed=True), loss=Bare(), widths=(2,), lambda_W=0.01, lambda_H=0.01
    )
    solution = ufm.minimise(problem, key=key, progress=False)
    assert solution.result is ufm.Result.CONVERGED
    with pytest.raises(
        ValueError,
        match=r"`problem.loss` must define `conjugate` for a certificate; got Bare\(sharpness=1\)",
    ):
        ufm.certify(problem, solution.params)
    with pytest.raises(ValueError, match="`loss` must define `best_bias`"):
        Bare().best_bias(jnp.eye(2), jnp.eye(2), jnp.ones(2))
    with pytest.raises(ValueError, match="`loss` must define `conjugate`"):
        Bare().conjugate(jnp.ones(2), jnp.ones(2))


@pytest.mark.parametrize("bias", [None, "free", 0.1])
@pytest.mark.parametrize(
    "loss", [Focal(0), RescaledSquaredError(), AdjustedCrossEntropy(additive=np.zeros(3))]
)
def test_a_disguised_loss_is_certified_like_the_plain_one(loss, bias, key):
    problem = ufm.Problem(
        ufm.one_hot((8, 4, 2), collapsed=True),
        loss=loss,
        widths=(4,),
        lambda_W=0.02,
        lambda_H=0.001,
        bias=bias,
    )
    plain = ufm.Problem(
        problem.labels, loss=loss.canonical(), widths=(4,), lambda_W=0.02, lambda_H=0.001, bias=bias
    )
    point = ufm.solvers.random_start(problem, key=key)
    np.testing.assert_array_equal(
        ufm.certify(problem, point).lower_bound, ufm.certify(plain, point).lower_bound
    )


def test_the_gradient_of_focal_keeps_its_digits_where_the_class_is_all_but_certain():
    z, q = jnp.array([40.0, 0.0, -1.0]), jnp.array([1.0, 0.0, 0.0])
    # 1 − p to first order, and −log p to the same: the loss is (1 − p)^(γ + 1)
    missing = np.exp(-40.0) * (1 + np.exp(-1.0))
    slope = jax.grad(Focal(1.0))(z, q)
    np.testing.assert_allclose(slope[0], -2 * missing**2, rtol=1e-14)
    np.testing.assert_allclose(slope[1:], 2 * missing * np.exp([-40.0, -41.0]), rtol=1e-14)
    np.testing.assert_allclose(jax.hessian(Focal(1.0))(z, q)[0, 0], 4 * missing**2, rtol=1e-14)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_focal_has_finite_derivatives_where_p_rounds_to_one(gamma):
    z, q = jnp.array([800.0, 0.0, 0.0]), jnp.array([1.0, 0.0, 0.0])
    assert np.isfinite(jax.grad(Focal(gamma))(z, q)).all()
    assert np.isfinite(jax.hessian(Focal(gamma))(z, q)).all()


@pytest.mark.parametrize(
    "loss", [pytest.param(RESCALED, id="rescaled-mse"), pytest.param(ADJUSTED, id="adjusted-ce")]
)
def test_best_bias_of_the_parametrised_losses_is_stationary(loss):
    rng = np.random.default_rng(0)
    Z, Q, weights = (
        jnp.asarray(rng.normal(size=(3, 5))),
        jax.nn.one_hot(jnp.array([0, 1, 2, 0, 1]), 3, axis=0, dtype=float),
        jnp.full(5, 0.2),
    )

    def mean_loss(bias):
        return weights @ jax.vmap(loss, in_axes=1)(Z + bias[:, None], Q)

    np.testing.assert_allclose(
        jax.grad(mean_loss)(loss.best_bias(Z, Q, weights)), np.zeros(3), rtol=0, atol=1e-14
    )


@pytest.mark.parametrize(
    "loss", [pytest.param(RESCALED, id="rescaled-mse"), pytest.param(ADJUSTED, id="adjusted-ce")]
)
@pytest.mark.parametrize("bias", [None, "free", 0.1])
def test_the_parametrised_convex_losses_are_certified(loss, bias, key):
    problem = ufm.Problem(
        ufm.one_hot((8, 4, 2), collapsed=True),
        loss=loss,
        widths=(4,),
        lambda_W=0.02,
        lambda_H=0.001,
        bias=bias,
    )
    solution = ufm.minimise(problem, key=key, progress=False)
    assert solution.result is ufm.Result.CONVERGED
    # first order in a relative gradient of 1e-12
    assert abs(float(ufm.certify(problem, solution.params).gap)) < 1e-10
    # and a point that is no optimum is not
    moved = jax.tree.map(lambda leaf: 1.01 * leaf, solution.params)
    assert float(ufm.certify(problem, moved).gap) > 1e-6


def test_focal_is_refused_a_certificate(key):
    problem = ufm.Problem(
        ufm.one_hot((2, 2), collapsed=True),
        loss=Focal(2.0),
        widths=(2,),
        lambda_W=0.01,
        lambda_H=0.01,
    )
    with pytest.raises(
        ValueError,
        match=r"`problem.loss` must be convex in the logits for a certificate; got Focal",
    ):
        ufm.certify(problem, ufm.solvers.random_start(problem, key=key))


@pytest.mark.parametrize("method", ["conjugate", "best_bias"])
def test_focal_has_no_convex_parts(method):
    matrix = jnp.eye(3)
    arguments = (matrix[0], matrix[0]) if method == "conjugate" else (matrix, matrix, matrix[0])
    with pytest.raises(ValueError, match="`loss` must be convex"):
        getattr(Focal(2.0), method)(*arguments)


def test_focal_is_not_convex():
    q = jnp.array([1.0, 0.0, 0.0])
    eigenvalues = [
        np.linalg.eigvalsh(jax.hessian(Focal(2.0))(jnp.array([t, 0.0, 0.0]), q))[0]
        for t in np.linspace(-4, 4, 9)
    ]
    assert min(eigenvalues) < -1e-2


def test_sweeping_the_parameters_of_a_loss_does_not_recompile():
    traces = 0

    @jax.jit
    def value(loss, z):
        nonlocal traces
        traces += 1
        return loss(z, jax.nn.one_hot(0, 3, dtype=float))

    for gamma in (0.5, 1.0, 2.0):
        value(Focal(gamma), jnp.arange(3.0))
    assert traces == 1


@pytest.mark.parametrize(
    ("build", "message"),
    [
        pytest.param(
            lambda: Focal(-1.0),
            r"`gamma` must be finite and >= 0; got -1.0",
            id="focal-negative-gamma",
        ),
        pytest.param(lambda: Focal(np.nan), r"`gamma` must be finite", id="focal-nan"),
        pytest.param(
            lambda: Focal([1.0, 2.0]), r"`gamma` must be one real number", id="focal-two-gammas"
        ),
        pytest.param(
            lambda: RescaledSquaredError(length=0.0),
            r"`length` must be finite and > 0; got 0.0",
            id="length-zero",
        ),
        pytest.param(
            lambda: RescaledSquaredError(weight=-2),
            r"`weight` must be finite and > 0; got -2",
            id="weight-negative",
        ),
        pytest.param(
            lambda: AdjustedCrossEntropy(multiplicative=[1.0, 0.0]),
            r"`multiplicative` must be finite and > 0",
            id="temperature-zero",
        ),
        pytest.param(
            lambda: AdjustedCrossEntropy(additive=[0.0, np.inf]),
            r"`additive` must be finite",
            id="shift-infinite",
        ),
        pytest.param(
            lambda: AdjustedCrossEntropy(),
            r"must be given, one number per class",
            id="nothing-adjusted",
        ),
        pytest.param(
            lambda: AdjustedCrossEntropy(multiplicative=[1.0], additive=[0.0, 0.0]),
            r"`additive` must have the shape of `multiplicative`, \(1,\)",
            id="shapes",
        ),
        pytest.param(
            lambda: ADJUSTED(jnp.zeros(2), jnp.zeros(2)),
            r"must have shape \(2,\); got \(3,\)",
            id="wrong-K",
        ),
        pytest.param(
            lambda: smoothed_labels((2, 2), smoothing=1.0),
            r"`smoothing` must be in \[0, 1\); got 1.0",
            id="smoothing-1",
        ),
        pytest.param(
            lambda: smoothed_labels((2, 2), smoothing=-0.1),
            r"`smoothing` must be in \[0, 1\)",
            id="smoothing-negative",
        ),
        pytest.param(
            lambda: smoothed_labels((2, 2), smoothing=np.nan),
            r"`smoothing` must be in \[0, 1\)",
            id="smoothing-nan",
        ),
        pytest.param(
            lambda: smoothed_labels((2, 2), smoothing=[0.1, 0.2]),
            r"`smoothing` must be one real number",
            id="two-smoothings",
        ),
    ],
)
def test_bad_parameters(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_smoothed_labels():
    labels = smoothed_labels((3, 1), smoothing=0.2, collapsed=True)
    np.testing.assert_allclose(labels.targets, [[0.9, 0.1], [0.1, 0.9]], rtol=1e-15)
    np.testing.assert_array_equal(labels.masses, [3, 1])
    assert smoothed_labels((3, 1), smoothing=0.2).targets.shape == (2, 4)
    assert smoothed_labels((3, 1), smoothing=0).is_one_hot()
    # the amount may be traced
    np.testing.assert_allclose(
        jax.jit(lambda s: smoothed_labels((3, 1), smoothing=s).targets)(0.2),
        smoothed_labels((3, 1), smoothing=0.2).targets,
        rtol=1e-14,
    )
