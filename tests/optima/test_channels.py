"""Mixup in closed form.

The equations themselves, limits, Lambert's W, and the joint optimum against solver and certificate.
"""

from __future__ import annotations

import math

import jax
import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import minimize_scalar
from scipy.special import lambertw, logsumexp

import ufm
from ufm.labels.beta_law import beta_quadrature
from ufm.labels.mixtures import mixup
from ufm.optima import channels
from ufm.optima.joint_mixup import (
    mixup_optimum,
    mixup_quadrature_error,
    mixup_threshold,
    solve_mixture,
)
from ufm.optima.manifold_mixup import manifold_mixup_optimum
from ufm.optima.squared_error_mixup import squared_error_mixup_spectrum

CLASSES = (2, 3, 4, 10, 100)
STRENGTHS = 10.0 ** np.arange(-12, 4)
LAMBDAS = np.array([0.0, 1e-12, 1e-3, 0.3, 0.5, 0.7, 0.999, 1.0])


@pytest.mark.parametrize("K", CLASSES)
def test_stationarity(K):
    """softmax(z) + s z = q entry by entry, with the residual q − p measured where it does not
    cancel."""
    c = channels.channel(K, LAMBDAS[:, None], strength=STRENGTHS)
    assert c.t.shape == (len(LAMBDAS), len(STRENGTHS))
    own, other, rest = c.logits
    assert_allclose(own + other + (K - 2) * rest, 0, rtol=0, atol=1e-13)
    # relative to the softmax itself; the exponent is up to 30, so a probability is good to 30
    # roundings
    total = 1 + np.exp(other - own) + (K - 2) * np.exp(rest - own)
    for logit, probability in zip((own, other), c.probabilities, strict=False):
        assert_allclose(probability, np.exp(logit - own) / total, rtol=1e-13)
    for logit, probability, target in zip(
        (own, other), c.probabilities, (LAMBDAS, 1 - LAMBDAS), strict=False
    ):
        assert_allclose(
            probability + STRENGTHS * logit,
            np.broadcast_to(target[:, None], probability.shape),
            rtol=0,
            atol=1e-13,
        )
    if K > 2:
        assert_allclose(c.probabilities[2], -STRENGTHS * rest, rtol=1e-14)
    else:
        # there is no other class, and what t would give it is not said
        assert np.array_equal(c.probabilities[2], np.zeros_like(c.t))
        assert np.all(c.t > 0)


@pytest.mark.parametrize("K", CLASSES)
def test_the_form_with_lambert_w(K):
    """1/s − (K − 2) t = W₀(t e^{t + λ/s}) + W₀(t e^{t + (1 − λ)/s}), where nothing overflows.

    And W_{K−1}(K/s).
    """
    s, lam = 10.0 ** np.arange(-2, 4), LAMBDAS[:, None]
    t = channels.channel(K, lam, strength=s).t
    right = sum(lambertw(t * np.exp(t + part / s)).real for part in (lam, 1 - lam))
    assert_allclose(right, 1 / s - (K - 2) * t, rtol=1e-12)
    xi = channels.same_class_gap(K, STRENGTHS)
    assert_allclose(xi * np.exp(xi) + (K - 1) * xi, K / STRENGTHS, rtol=1e-13)


@pytest.mark.parametrize("K", CLASSES)
def test_limits(K):
    xi = channels.same_class_gap(K, STRENGTHS)
    pure = channels.channel(K, 1.0, strength=STRENGTHS)
    assert_allclose(pure.first_gap, xi, rtol=1e-14)
    assert np.all(pure.second_gap == 0)
    near = channels.channel(K, 1 - 1e-9, strength=1.0)
    assert_allclose(
        [near.first_gap, near.second_gap], [channels.same_class_gap(K, 1.0), 0], rtol=0, atol=1e-8
    )
    half = channels.channel(K, 0.5, strength=STRENGTHS)
    assert np.all(half.width == 0)
    # u (e^u + (K − 2)/2) = K/(4 s)
    assert_allclose(
        half.first_gap * (np.exp(half.first_gap) + (K - 2) / 2), K / (4 * STRENGTHS), rtol=1e-13
    )
    one, two = (channels.channel(K, lam, strength=STRENGTHS) for lam in (0.25, 0.75))
    assert_allclose(one.first_gap, two.second_gap, rtol=1e-14)
    # s → 0: the width tends to logit λ, linearly in s log(1/s); the depth is twice the pure gap up
    # to a constant
    far = channels.channel(K, 0.7, strength=np.array([1e-6, 1e-9, 1e-12]))
    assert np.all(
        np.abs(far.width - np.log(0.7 / 0.3)) < np.array([1e-6, 1e-9, 1e-12]) * 100 + 1e-13
    )
    assert np.ptp(far.depth - 2 * channels.same_class_gap(K, np.array([1e-6, 1e-9, 1e-12]))) < 2
    # s → ∞: the logits are those of the linear model, (q − 1/K)/(s + 1/K), up to the square of 7e-7
    weak = channels.channel(K, 0.7, strength=1e6)
    assert_allclose(weak.logits[0], (0.7 - 1 / K) / (1e6 + 1 / K), rtol=5e-13)


def test_moments_and_features():
    K, m, decay = 5, 1.7, 0.02
    W = np.asarray(ufm.simplex_etf(K, multiplier=m, dim=7, key=jax.random.key(0)).T)
    s = channels.strength(K, multiplier=m, decay=decay)
    c = channels.channel(K, np.array([0.2, 0.6]), strength=s)
    H = c.features(W[1], W[3]).T
    z = W @ H
    q = np.zeros((K, 2))
    q[1], q[3] = [0.2, 0.6], [0.8, 0.4]
    p = np.exp(z - logsumexp(z, axis=0))
    assert_allclose(W.T @ (p - q) + decay * H, 0, rtol=0, atol=1e-15)
    assert_allclose(c.squared_logits, np.sum(z**2, axis=0), rtol=1e-13)
    assert_allclose(c.cross_entropy, logsumexp(z, axis=0) - np.sum(q * z, axis=0), rtol=1e-13)


def make(K, alpha, load, *, ratio=3.0, nodes=12, labels=None, **options):
    """`load` is λ_W μ over its threshold."""
    product = load * mixup_threshold(K, alpha)
    settings = {
        "loss": ufm.CrossEntropy(),
        "widths": (K + 1,),
        "lambda_W": np.sqrt(product) * ratio,
        "lambda_H": np.sqrt(product) / ratio,
    }
    return ufm.Problem(
        mixup(K, alpha, nodes=nodes) if labels is None else labels, **(settings | options)
    )


@pytest.mark.lean(
    "uniform", "free-bias", "penalised-bias", "half-below-threshold", "half-above-threshold"
)
@pytest.mark.parametrize(
    ("K", "alpha", "load", "options"),
    [
        pytest.param(2, 0.5, 0.05, {}, id="two-classes"),
        pytest.param(3, 1.0, 0.01, {}, id="uniform"),
        pytest.param(4, 0.2, 0.1, {"widths": (3,)}, id="least-width"),
        pytest.param(4, math.inf, 0.97, {}, id="half-below-threshold"),
        pytest.param(4, math.inf, 1.03, {}, id="half-above-threshold"),
        pytest.param(3, 2.0, 0.2, {"bias": "free"}, id="free-bias"),
        pytest.param(3, 2.0, 0.2, {"bias": 0.3}, id="penalised-bias"),
    ],
)
def test_joint_optimum(K, alpha, load, options, key):
    """With the classifier free it is a simplex ETF, from a start that knows nothing of it."""
    problem = make(K, alpha, load, **options)
    optimum = ufm.closed_form(problem)
    solution = ufm.minimise(problem, key=key)
    assert solution.result is ufm.Result.CONVERGED
    assert abs(float(ufm.certify(problem, solution.params).gap)) < 1e-9
    comparison = ufm.compare(solution, optimum)
    assert comparison.ok, str(comparison)
    assert comparison["logits"].error < 1e-10
    if load > 1:
        assert optimum.regime == "trivial"
        assert_allclose(optimum.value, np.log(K), rtol=1e-15)
        return
    W = np.asarray(solution.params.weights[0])
    assert float(ufm.frames.frame_distance(W.T, ufm.simplex_etf(K))) < 1e-10
    joint = mixup_optimum(
        K, alpha, lambda_W=float(problem.lambda_W[0]), lambda_H=float(problem.lambda_H), nodes=12
    )
    assert_allclose(np.linalg.norm(W, axis=1), joint.multiplier, rtol=1e-10)
    assert_allclose(optimum.value, joint.value, rtol=1e-15)
    assert_allclose(joint.value, joint.loss + joint.lambda_W * K * joint.multiplier**2, rtol=1e-13)


def test_without_mixup_it_is_the_balanced_optimum():
    for K in (2, 5):
        joint = mixup_optimum(K, 0, lambda_W=0.01, lambda_H=0.02)
        problem = ufm.Problem(
            mixup(K, 0), loss=ufm.CrossEntropy(), widths=(K,), lambda_W=0.01, lambda_H=0.02
        )
        optimum = ufm.closed_form(problem)
        assert_allclose(joint.value, optimum.value, rtol=1e-14)
        assert_allclose(joint.gap, np.log(np.sqrt(K / (0.01 * 0.02)) - (K - 1)), rtol=1e-14)


def test_masses_need_not_sum_to_one():
    """Only m/Σm and λ_H Σm matter."""
    plain = make(3, 1.0, 0.1)
    labels = ufm.soft(plain.labels.targets, 50 * plain.labels.masses)
    heavy = make(3, 1.0, 0.1, labels=labels, lambda_H=plain.lambda_H / 50)
    one, two = ufm.closed_form(plain), ufm.closed_form(heavy)
    assert_allclose(two.value, one.value, rtol=1e-14)
    assert_allclose(two.logits, one.logits, rtol=1e-12, atol=1e-12)


def test_repeated_and_shuffled_columns():
    plain = make(3, 1.0, 0.1, nodes=4)
    rng = np.random.default_rng(0)
    order = rng.permutation(np.repeat(np.arange(plain.labels.num_columns), 2))
    labels = ufm.soft(
        np.asarray(plain.labels.targets)[:, order], 0.5 * np.asarray(plain.labels.masses)[order]
    )
    one, two = ufm.closed_form(plain), ufm.closed_form(make(3, 1.0, 0.1, labels=labels))
    assert_allclose(two.logits[:, two.column_index], one.logits[:, order], rtol=1e-13, atol=1e-13)
    assert_allclose(two.value, one.value, rtol=1e-14)


def test_threshold():
    assert mixup_threshold(4, 1.0) == pytest.approx(2 / 3 / 4, rel=1e-15)
    for K, alpha in ((2, 0.3), (10, 1.0)):
        edge = mixup_threshold(K, alpha)
        below, above = (
            mixup_optimum(K, alpha, lambda_W=1.0, lambda_H=edge * load)
            for load in (1 - 1e-6, 1 + 1e-6)
        )
        assert above.trivial
        assert not below.trivial
        assert below.multiplier < 0.01
        assert_allclose([below.value, above.value], np.log(K), rtol=1e-9)


@pytest.mark.parametrize("K", [2, 5])
def test_classes_are_alike_where_no_logit_is_left(K):
    optimum = mixup_optimum(K, 1.0, lambda_W=1.0, lambda_H=1.0, nodes=4)
    assert optimum.trivial
    first, second, rest = optimum.channel.probabilities
    assert_allclose([first, second], np.full((2, 4), 1 / K), rtol=1e-15)
    assert_allclose(rest, np.full(4, 1 / K if K > 2 else 0), rtol=1e-15)


def test_quadrature_error():
    """Measured: eight nodes miss the multiplier in the fourth digit, sixty-four are exact to
    rounding, down to s about 1e-3."""
    settings = {"lambda_W": 0.01, "lambda_H": 0.01}
    errors = [
        mixup_quadrature_error(10, 1.0, nodes=nodes, **settings)["multiplier"]
        for nodes in (8, 16, 32, 64)
    ]
    assert 1e-5 < errors[0] < 1e-3
    assert errors[1] < 0.1 * errors[0]
    assert errors[2] < 1e-9
    assert errors[3] < 1e-13
    coarse, fine = (mixup_optimum(10, 1.0, nodes=nodes, **settings) for nodes in (8, 32))
    assert mixup_quadrature_error(10, 1.0, nodes=8, **settings) == {
        "value": abs(coarse.value / fine.value - 1),
        "multiplier": abs(coarse.multiplier / fine.multiplier - 1),
    }
    assert np.isnan(
        mixup_quadrature_error(3, 1.0, nodes=8, lambda_W=10.0, lambda_H=10.0)["multiplier"]
    )


def test_a_decay_between_the_thresholds_of_two_rules_has_no_error_of_the_multiplier():
    """Every rule is exact for the second moment, so that their thresholds differ by rounding, but
    differ they do."""

    def last(alpha, nodes):
        """The largest decay with a nonzero optimum."""

        def trivial(decay):
            return mixup_optimum(3, alpha, lambda_W=0.1, lambda_H=decay, nodes=nodes).trivial

        exact = mixup_threshold(3, alpha) / 0.1
        low, high = exact * (1 - 1e-12), exact * (1 + 1e-12)
        assert not trivial(low)
        assert trivial(high)
        while low < (middle := 0.5 * (low + high)) < high:
            low, high = (low, middle) if trivial(middle) else (middle, high)
        return low

    differing = 0
    for alpha in (0.2, 0.5, 1.0, 2.0, 3.0, 7.0):
        coarse, fine = last(alpha, 8), last(alpha, 32)
        if coarse != fine:
            differing += 1
            errors = mixup_quadrature_error(
                3, alpha, nodes=8, lambda_W=0.1, lambda_H=max(coarse, fine)
            )
            assert np.isnan(errors["multiplier"])
            assert errors["value"] < 1e-13
    assert differing > 0


def test_squared_error_mixup(key):
    """Features are mixed as the labels are, and W Wᵀ has two eigenvalues: no simplex ETF."""
    problem = make(4, 1.0, 0.02, loss=ufm.MeanSquaredError(), widths=(6,))
    optimum = ufm.closed_form(problem)
    contrast, mean = squared_error_mixup_spectrum(
        4, 1.0, lambda_W=float(problem.lambda_W[0]), lambda_H=float(problem.lambda_H)
    )
    assert_allclose(
        np.linalg.eigvalsh(optimum.classifier_gram), [contrast] * 3 + [mean], rtol=1e-12
    )
    assert mean > 1.05 * contrast
    solution = ufm.minimise(problem, key=key)
    assert solution.result is ufm.Result.CONVERGED
    assert float(ufm.certify(problem, solution.params).gap) < 1e-9
    features, targets = np.asarray(solution.params.features), np.asarray(problem.labels.targets)
    assert_allclose(features, features[:, :4] @ targets, rtol=0, atol=1e-10)


@pytest.mark.parametrize("K", [2, 3, 10])
@pytest.mark.parametrize("decay", [1e-2, 1e-8, 1e-12, 1e-18, 1e-200])
def test_manifold_mixup_of_pure_classes_keeps_its_digits(K, decay):
    """Without mixing the probability of all other classes is the price itself."""
    zeta, value = manifold_mixup_optimum(K, 0, lambda_W=decay, lambda_H=decay)
    price = decay / np.sqrt(K) * (K - 1)
    odds = price / (1 - price)
    assert_allclose(zeta, np.log((K - 1) / odds), rtol=1e-14)
    assert_allclose(value, np.log1p(odds) + price * zeta, rtol=1e-14)


@pytest.mark.parametrize(("K", "alpha"), [(2, 1.0), (3, 0.4), (5, math.inf), (3, 0)])
def test_manifold_mixup(K, alpha):
    """ζ against a direct minimisation of φ, and φ against the objective of factors that realise ζ
    P."""
    lambda_W, lambda_H = 0.02, 0.05
    zeta, value = manifold_mixup_optimum(K, alpha, lambda_W=lambda_W, lambda_H=lambda_H)
    labels = mixup(K, alpha)
    targets, masses = np.asarray(labels.targets), np.asarray(labels.masses)

    def objective(zeta):
        """W = √(scale) P, H̄ such that W H̄ = ζ P, with balanced factors."""
        P = np.eye(K) - 1 / K
        w = np.sqrt(zeta * np.sqrt(lambda_H / (K * lambda_W)))
        W, H = w * P, zeta / w * P
        z = W @ H @ targets
        loss = masses @ (logsumexp(z, axis=0) - np.sum(targets * z, axis=0))
        return loss + 0.5 * lambda_W * np.sum(W**2) + 0.5 * lambda_H / K * np.sum(H**2)

    assert_allclose(objective(zeta), value, rtol=1e-13)
    best = minimize_scalar(
        objective, bounds=(0.5 * zeta, 2 * zeta), method="bounded", options={"xatol": 1e-10}
    )
    # the minimum of a scalar function is seen to the root of rounding
    assert_allclose(best.x, zeta, rtol=1e-6)
    assert best.fun >= value - 1e-14
    assert manifold_mixup_optimum(K, alpha, lambda_W=10.0, lambda_H=10.0) == (
        0.0,
        pytest.approx(np.log(K), rel=1e-15),
    )


def _tilted():
    """A law of λ that is not symmetric."""
    lam, weights = beta_quadrature(1.0, nodes=4)
    targets, columns = [], np.eye(3)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        targets += [a * columns[i] + (1 - a) * columns[j] for a in lam**2]
    return ufm.soft(np.array(targets).T, np.tile(weights, 3) / 3)


REFUSED = (
    (
        "imbalanced",
        lambda: make(3, 1.0, 0.1, labels=mixup(3, 1.0, nodes=4, class_counts=(3, 2, 1))),
        "needs balanced classes: equal masses",
    ),
    (
        "pairs-missing",
        lambda: make(3, 1.0, 0.1, labels=ufm.soft([[1, 0, 0, 0.5], [0, 1, 0, 0.5], [0, 0, 1, 0]])),
        "all 3 pairs of classes",
    ),
    ("tilted", lambda: make(3, 1.0, 0.1, labels=_tilted()), "symmetric under λ ↔ 1 − λ"),
    ("deep", lambda: make(3, 1.0, 0.1, widths=(4, 4)), "needs M = 1"),
    (
        "narrow",
        lambda: make(4, 1.0, 0.1, widths=(2,)),
        "needs d >= K - 1, the rank of the convex optimum; got d=2, K=4",
    ),
    (
        "fixed",
        lambda: make(3, 1.0, 0.1, fixed_weights=(np.ones((3, 4)),)),
        "needs free weights.*ufm.solvers.fit_features",
    ),
    (
        "anchor",
        lambda: make(2, math.inf, 0.1, anchor=np.ones((3, 3)), beta=1.0),
        "needs features that are pulled to 0 only",
    ),
)


@pytest.mark.parametrize(
    ("problem", "message"), [pytest.param(*case[1:], id=case[0]) for case in REFUSED]
)
def test_no_closed_form(problem, message):
    with pytest.raises(ufm.NoClosedForm, match=message):
        ufm.closed_form(problem())


def test_too_many_columns_for_a_gram(monkeypatch):
    from ufm.optima.forms import mixture

    monkeypatch.setattr(mixture, "_MOST_COLUMNS", 10)
    with pytest.raises(ufm.NoClosedForm, match="at most 10 distinct labels"):
        ufm.closed_form(make(3, 1.0, 0.1))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        pytest.param(
            lambda: channels.channel(1, 0.5, strength=1.0),
            "`num_classes` must be a whole number >= 2; got 1",
            id="one-class",
        ),
        pytest.param(
            lambda: channels.channel(3, 1.2, strength=1.0),
            r"`lam` must be in \[0, 1\]; got 1.2",
            id="lam",
        ),
        pytest.param(
            lambda: channels.channel(3, 0.2, strength=0.0),
            "`strength` must be finite and > 0; got 0.0",
            id="strength",
        ),
        pytest.param(
            lambda: channels.strength(3, multiplier=-1, decay=1.0),
            "`multiplier` must be finite and > 0",
            id="multiplier",
        ),
        pytest.param(
            lambda: mixup_optimum(3, 1.0, lambda_W=0.0, lambda_H=1.0),
            "`lambda_W` must be finite and > 0",
            id="no-decay",
        ),
        pytest.param(
            lambda: solve_mixture(3, [0.5], [0.5], same_weight=0.2, lambda_W=1.0, decay=1.0),
            "sum to 1; got 0.7",
            id="weights",
        ),
        pytest.param(
            lambda: solve_mixture(3, [1.5], [0.5], same_weight=0.5, lambda_W=0.1, decay=0.1),
            r"`lam` must be in \[0, 1\]; got \[1.5\]",
            id="lam-of-a-mixture",
        ),
        pytest.param(
            lambda: solve_mixture(3, [np.nan], [0.5], same_weight=0.5, lambda_W=0.1, decay=0.1),
            r"`lam` must be in \[0, 1\]; got \[nan\]",
            id="lam-no-number",
        ),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_mixture_needs_two_classes():
    with pytest.raises(ValueError, match="`num_classes` must be"):
        solve_mixture(1, [0.5], [1.0], same_weight=0.0, lambda_W=0.1, decay=0.1)
