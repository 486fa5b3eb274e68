"""The exact laws: against a general integrator, against each other in their limits, and against the
equations printed for them."""

from decimal import Decimal, localcontext

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import brentq
from scipy.special import expi, lambertw

from ufm.optima import (
    balanced_softmax,
    cross_entropy_dynamics,
    inversion,
    laws,
    modes,
    squared_error_flows,
)
from ufm.optima.inversion import follow, invert_increasing

TS = np.linspace(0, 6, 25)
# Relative. The laws are exact to rounding; what is left is the reference integrator's global error
# at its smallest tolerance.
INTEGRATOR = 2e-11
# Relative, law against law: a few hundred roundings, from powers M + 1 and exponents of a few
# units.
ROUNDING = 2e-13


def log_flow(rate, start, ts):
    """u(t) from d ln u / dt = rate(u), the obvious way."""
    solved = solve_ivp(
        lambda t, x: rate(np.exp(x)),
        (0, ts[-1]),
        [np.log(start)],
        t_eval=ts,
        method="DOP853",
        rtol=1e-13,
        atol=1e-15,
    )
    return np.exp(solved.y[0])


@pytest.mark.parametrize(
    ("target", "start", "decay"),
    [
        pytest.param(2.0, 1e-6, 0.0, id="from-nearly-nothing"),
        pytest.param(2.0, 1e-3, 0.5, id="with-decay"),
        pytest.param(2.0, 5.0, 0.5, id="from-above"),
        pytest.param(0.5, 1.0, 0.5, id="at-the-threshold"),
        pytest.param(0.5, 1.0, 1.0, id="beyond-the-threshold"),
        pytest.param(0.0, 1.0, 0.0, id="no-target"),
    ],
)
def test_saxe_mode_against_the_equation(target, start, decay):
    law = laws.saxe_mode(TS, target=target, start=start, decay=decay)
    np.testing.assert_allclose(
        law, log_flow(lambda u: 2 * (target - decay - u), start, TS), rtol=INTEGRATOR
    )
    if target > 0:
        np.testing.assert_allclose(
            laws.deep_mode(TS, target=target, start=start, depth=1, decay=decay),
            law,
            rtol=ROUNDING,
        )


def test_saxe_mode_by_hand():
    # s = 1, u0 = 1/2: u = 1/(1 + e^{-2t})
    np.testing.assert_allclose(
        laws.saxe_mode(TS, target=1.0, start=0.5), 1 / (1 + np.exp(-2 * TS)), rtol=1e-15
    )
    np.testing.assert_array_equal(laws.saxe_mode([*TS, 400.0], target=1.0, start=0.0), 0)
    # t = 0 is the start, t → ∞ the target less the decay
    ends = laws.saxe_mode([0.0, 1e6], target=3.0, start=0.1, decay=0.5)
    np.testing.assert_allclose(ends, [0.1, 2.5], rtol=1e-15)


@pytest.mark.parametrize(
    ("target", "start", "gap"),
    [
        (2.0, 1e-3, 0.1),
        (2.0, -0.5, 0.3),
        (2.0, 5.0, 1.0),
        (1.0, 0.0, 0.2),
        (1.0, 1e-9, 2.0),
        (2.0, 0.1, -3.0),
        (0.0, 0.3, 0.4),
    ],
)
def test_unbalanced_mode_against_two_factors(target, start, gap):
    # a² − b² = gap and a b = start
    a = np.sqrt((np.hypot(2 * start, gap) + gap) / 2)
    b = start / a
    solved = solve_ivp(
        lambda t, y: [(target - y[0] * y[1]) * y[1], (target - y[0] * y[1]) * y[0]],
        (0, 6),
        [a, b],
        t_eval=TS,
        method="DOP853",
        rtol=1e-13,
        atol=1e-15,
    )
    law = laws.saxe_mode_unbalanced(TS, target=target, start=start, imbalance=gap)
    np.testing.assert_allclose(
        law, solved.y[0] * solved.y[1], rtol=0, atol=INTEGRATOR * max(target, abs(start))
    )


def test_unbalanced_mode_obeys_the_implicit_law():
    s, u0, k = 2.0, 1e-3, 0.1
    ts = np.linspace(0, 2, 9)
    Q = np.sqrt(4 * s**2 + k**2)

    def antiderivative(u):
        return np.log((4 * s * u + k**2 + Q * np.sqrt(4 * u**2 + k**2)) / (s - u)) / Q

    u = laws.saxe_mode_unbalanced(ts, target=s, start=u0, imbalance=k)
    np.testing.assert_allclose(antiderivative(u) - antiderivative(u0), ts, rtol=0, atol=1e-13)


def exact_unbalanced_mode(t, target, start, imbalance) -> Decimal:
    """The formula as it reads, with digits for all that cancels."""
    with localcontext(prec=700):
        t, s, u0, k = map(Decimal, (t, target, start, imbalance))
        Q = (4 * s**2 + k**2).sqrt()
        upper, lower, p0 = 2 * s + Q, 2 * s - Q, (4 * u0**2 + k**2).sqrt() + 2 * u0
        fading = (-Q * t).exp()
        come, left = (p0 - lower) * (1 - fading), (upper - lower) * fading
        p = (upper * come + p0 * left) / (come + left)
        return (p - k**2 / p) / 4


@pytest.mark.parametrize("imbalance", [1e-100, 1e-12, -1e-3, 1.0, -40.0, 1e8])
@pytest.mark.parametrize("target", [0.0, 0.5, 30.0])
def test_unbalanced_mode_in_exact_arithmetic(target, imbalance):
    """Starts and limits far below the imbalance, and far above, of either sign."""
    ts = np.array([0, 1e-9, 0.01, 0.3, 1, 5])
    # times at which e^{-Qt} is still a number
    ts = ts[np.hypot(2 * target, imbalance) * ts < 600]
    for start in (1e-30, 1e-12, 1e-3, 0.7, 50.0, 1e9, 1e200, -1e-12, -0.7, -50.0):
        arguments = {"target": target, "start": start, "imbalance": imbalance}
        law = laws.saxe_mode_unbalanced(ts, **arguments)
        # Qt is rounded before its exponential is taken, and a dozen roundings come after: three
        # times what is reached
        for t, u in zip(ts, law, strict=True):
            exact = exact_unbalanced_mode(t, **arguments)
            roundings = 10 * (1 + np.hypot(2 * target, imbalance) * t)
            assert abs(Decimal(float(u)) / exact - 1) < Decimal(roundings * 2.0**-53), (start, t)


def test_an_unbalanced_mode_that_starts_at_zero_is_there():
    assert laws.saxe_mode_unbalanced([0.0], target=2.0, start=0.0, imbalance=1e-12) == 0


@pytest.mark.parametrize("target", [0.0, 2.0])
def test_unbalanced_mode_without_imbalance_is_balanced(target):
    arguments = {"target": target, "start": 1e-4}
    expected = laws.saxe_mode(TS, **arguments)
    for gap in (0.0, 1e-12):
        np.testing.assert_allclose(
            laws.saxe_mode_unbalanced(TS, imbalance=gap, **arguments), expected, rtol=ROUNDING
        )


@pytest.mark.parametrize(
    ("depth", "target", "start", "decay"),
    [
        pytest.param(2, 2.0, 1e-4, 0.0, id="plateau"),
        pytest.param(2, 2.0, 5.0, 0.0, id="from-above"),
        pytest.param(3, 1.5, 1e-2, 0.01, id="with-decay"),
        pytest.param(2, 2.0, 3.0, 0.3, id="with-decay-from-above"),
        pytest.param(3, 1.5, 1e-4, 0.05, id="below-the-unstable-point-it-dies"),
        pytest.param(2, 1.0, 3.0, 2.0, id="beyond-the-threshold"),
        pytest.param(6, 1.0, 0.3, 0.02, id="six-layers"),
    ],
)
def test_deep_mode_against_the_equation(depth, target, start, decay):
    ts = 50 * TS if start < 0.1 else TS
    law = laws.deep_mode(ts, target=target, start=start, depth=depth, decay=decay)
    reference = log_flow(
        lambda u: (depth + 1) * (u ** ((depth - 1) / (depth + 1)) * (target - u) - decay), start, ts
    )
    np.testing.assert_allclose(law, reference, rtol=INTEGRATOR)


@pytest.mark.parametrize("apart", [1e-2, 1e-4, 1e-8, -1e-2, -1e-4])
@pytest.mark.parametrize("depth", [2, 3])
def test_a_start_beside_the_unstable_point_leaves_it_when_it_should(depth, apart):
    """The time there is a logarithm of the distance: a pole just behind, which panels resolve."""
    decay, power = 0.1, (depth - 1) / (depth + 1)
    unstable = brentq(
        lambda u: u**power * (1 - u) - decay, 1e-12, power / (1 + power), xtol=1e-300, rtol=1e-15
    )
    start = unstable * (1 + apart)
    ts = np.linspace(0, 40, 9)
    law = laws.deep_mode(ts, target=1.0, start=start, depth=depth, decay=decay)
    reference = log_flow(lambda u: (depth + 1) * (u**power * (1 - u) - decay), start, ts)
    # (the distance to the unstable point is known to rounding of the point, and grows from there)
    close = max(INTEGRATOR, 1e-13 / abs(apart))
    np.testing.assert_allclose(law, reference, rtol=close)


@pytest.mark.parametrize("depth", [2, 3, 5])
def test_deep_mode_obeys_the_law_in_roots_of_unity(depth):
    # target 1, no decay: y = u^{1/(M+1)} has dy/dt = y^M (1 − y^{M+1}), and 1/that is y^{-M} + y/(1
    # − y^{M+1})
    roots = np.exp(2j * np.pi * np.arange(depth + 1) / (depth + 1))

    def antiderivative(u):
        y = u ** (1 / (depth + 1))
        return y ** (1 - depth) / (1 - depth) - np.sum(
            roots**2 * np.log(1 - y[:, None] / roots), axis=1
        ).real / (depth + 1)

    ts = np.linspace(0, 12, 13)
    u = laws.deep_mode(ts, target=1.0, start=1e-2, depth=depth)
    # near the target the antiderivative is ill-conditioned, not the law
    read = 1 - u > 1e-4
    assert read.sum() >= 5
    np.testing.assert_allclose(
        antiderivative(u[read]) - antiderivative(u[:1]), ts[read], rtol=0, atol=1e-10
    )


def test_deep_mode_at_rest_stays():
    np.testing.assert_array_equal(laws.deep_mode(TS, target=2.0, start=0.0, depth=3), 0)
    np.testing.assert_allclose(
        laws.deep_mode(TS, target=2.0, start=2.0, depth=3), 2.0, rtol=ROUNDING
    )
    np.testing.assert_allclose(
        laws.deep_mode([1e9], target=2.0, start=0.5, depth=3), 2.0, rtol=ROUNDING
    )


@pytest.mark.parametrize(
    ("K", "n", "depth", "start", "decay"),
    [
        pytest.param(4, 3, 1, 1e-3, 0.0, id="exponential-integral"),
        pytest.param(4, 3, 1, 1e-3, 0.1, id="with-decay"),
        pytest.param(4, 1, 1, 5.0, 0.1, id="with-decay-from-above"),
        pytest.param(4, 3, 1, 12.0, 0.5, id="from-above"),
        pytest.param(4, 3, 1, 1.0, 5.0, id="beyond-the-threshold"),
        pytest.param(3, 10, 2, 0.1, 0.0, id="two-layers"),
        pytest.param(10, 5, 3, 0.5, 0.01, id="three-layers-with-decay"),
    ],
)
def test_cross_entropy_gap_against_the_equation(K, n, depth, start, decay):
    p, ts = 2 * depth / (depth + 1), 8 * TS
    law = laws.cross_entropy_gap(
        ts, start=start, num_classes=K, samples_per_class=n, depth=depth, decay=decay
    )
    reference = log_flow(
        lambda x: (depth + 1) * (n ** (p / 2) * x ** (p - 1) * K / (K - 1 + np.exp(x)) - decay),
        start,
        ts,
    )
    np.testing.assert_allclose(law, reference, rtol=INTEGRATOR)


def test_cross_entropy_gap_obeys_the_exponential_integral_law():
    K, n, start = 4, 3, 1e-3
    ts = np.array([1.0, 1e2, 1e4, 1e7])
    gap = laws.cross_entropy_gap(ts, start=start, num_classes=K, samples_per_class=n)
    spent = (K - 1) * np.log(gap) + expi(gap) - (K - 1) * np.log(start) - expi(start)
    np.testing.assert_allclose(spent, 2 * np.sqrt(n) * K * ts, rtol=1e-13)


@pytest.mark.parametrize("decay", [1e-300, 1e-15, 1e-12, 1e-9])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_cross_entropy_gap_keeps_its_digits_as_decay_vanishes(depth, decay):
    """The limit is hundreds then, and the mode far below it."""
    ts, arguments = np.array([0.0, 1.0, 10.0, 100.0]), {"num_classes": 3, "samples_per_class": 2}
    law = laws.cross_entropy_gap(ts, start=0.1, depth=depth, decay=decay, **arguments)
    free = laws.cross_entropy_gap(ts, start=0.1, depth=depth, **arguments)
    # a decay takes at most 2 M λ t of the gap's logarithm
    np.testing.assert_allclose(law, free, rtol=1e-11 + 2 * (depth + 1) * decay * 100)


def test_cross_entropy_gap_in_its_limits():
    arguments = {"start": 0.2, "num_classes": 5, "samples_per_class": 4}
    free, nearly = (laws.cross_entropy_gap(TS, decay=decay, **arguments) for decay in (0.0, 1e-14))
    np.testing.assert_allclose(nearly, free, rtol=ROUNDING)
    np.testing.assert_allclose(free[0], 0.2, rtol=1e-14)
    # the fixed point ln(√n K/λ − (K − 1))
    np.testing.assert_allclose(
        laws.cross_entropy_gap([1e4], decay=0.1, **arguments),
        np.log(2 * 5 / 0.1 - 4),
        rtol=1e-14,
    )
    np.testing.assert_array_equal(laws.cross_entropy_gap(TS, **{**arguments, "start": 0.0}), 0)


def test_cross_entropy_gap_beyond_where_exponentials_overflow():
    """At a start of 709 the series never ended, and what is above 600 was 600."""
    problem = {"num_classes": 3, "samples_per_class": 2}
    # the exponential-integral law in mpmath
    np.testing.assert_allclose(
        laws.cross_entropy_gap([1e250, 1e280, 1e300], start=0.1, **problem),
        [584.1530530358117980298, 653.3427268191438638989, 699.4627407374591950586],
        rtol=ROUNDING,
    )
    np.testing.assert_array_equal(laws.cross_entropy_gap([0, 1], start=709.0, **problem), 709)
    # what has flowed on from a time flows on the same way
    for depth in (1, 4):
        given = problem | {"depth": depth}
        ts = np.array([1e200, 1e262, 1e265, 1e290])
        gaps = laws.cross_entropy_gap(ts, start=5.0, **given)
        for i, gap in enumerate(gaps[:-1]):
            on = laws.cross_entropy_gap(ts[i + 1 :] - ts[i], start=gap, **given)
            np.testing.assert_allclose(on, gaps[i + 1 :], rtol=ROUNDING)


def test_fixed_etf_gap_where_its_terms_overflow():
    for start, time, scale, expected in (
        (-800.0, 1e308, 1.0, np.log(3) + 308 * np.log(10)),
        (0.0, 1e308, 1e308, np.log(3) + 616 * np.log(10)),
        (800.0, 1e300, 1.0, 800.0),
        (-1e300, 1.0, 1.0, -1e300),
    ):
        (still, gap) = laws.fixed_etf_gap(
            [0.0, time], num_classes=3, squared_scale=scale, start=start
        )
        assert still == start
        np.testing.assert_allclose(gap, expected, rtol=1e-14)


@pytest.mark.parametrize(
    ("target", "start", "time", "depth", "expected"),
    [
        pytest.param(1e200, 1.0, 1.0, 4, 1e200, id="target"),
        # u̇ = −5 u^{2.6} until it is there
        pytest.param(1.0, 1e300, 1e-6, 4, (8e-6) ** (-1 / 1.6), id="start"),
        pytest.param(1e-200, 1e-300, 1e-3, 4, 1e-300, id="small"),
    ],
)
def test_deep_mode_where_its_powers_overflow(target, start, time, depth, expected):
    (still, u) = laws.deep_mode([0.0, time], target=target, start=start, depth=depth)
    np.testing.assert_allclose(still, start, rtol=ROUNDING)
    np.testing.assert_allclose(u, expected, rtol=1e-3)


def test_fixed_etf_gap_is_the_lambert_law():
    K, a = 4, 2.0
    ts = np.array([0.0, 0.1, 1.0, 10.0, 100.0])
    c = 1 + a * K * ts
    expected = c / (K - 1) - lambertw(np.exp(c / (K - 1)) / (K - 1)).real
    np.testing.assert_allclose(
        laws.fixed_etf_gap(ts, num_classes=K, squared_scale=a), expected, rtol=0, atol=1e-12
    )
    # far beyond where Lambert's argument overflows, and from a wrong side
    for start in (0.0, -30.0, 3.0):
        gap = laws.fixed_etf_gap(
            np.array([0.0, 1e5, 1e12]), num_classes=K, squared_scale=a, start=start
        )
        np.testing.assert_allclose(
            np.exp(gap) + 3 * gap,
            a * K * np.array([0.0, 1e5, 1e12]) + np.exp(start) + 3 * start,
            rtol=1e-12,
        )


def test_renormalised_spectrum_grows_from_any_start():
    """Squares of the start below the smallest number count for nothing but their logarithm does."""
    start, t = np.array([1e-300, 1e-160, 1e-100, 1.0]), 1e6
    (omega,) = laws.renormalised_spectrum(start, [t], samples_per_class=1)
    C = len(start) + 1
    left = C**2 * np.log(omega / start) + C * (omega**2 - start**2) + (omega**4 - start**4) / 4
    # (log ω is a difference of 700 and 690, of which ω⁴ keeps four times the rounding)
    np.testing.assert_allclose(left, t, rtol=2e-12)


def test_renormalised_spectrum_obeys_its_law():
    start, n = np.array([0.1, 1.0, 3.0]), 6
    ts = np.array([0.0, 1.0, 1e2, 1e4, 1e12])
    omega = laws.renormalised_spectrum(start, ts, samples_per_class=n)

    def law(w):
        return n * (16 * np.log(w) + 4 * w**2 + w**4 / 4)

    np.testing.assert_allclose(
        law(omega) - law(start)[None, :], np.repeat(ts[:, None], 3, axis=1), rtol=1e-12, atol=1e-10
    )
    # all singular values end equal, as (4 t/n)^{1/4}
    np.testing.assert_allclose(omega[-1], (4e12 / n) ** 0.25, rtol=1e-3)
    assert np.ptp(omega[-1]) < 1e-3 * np.ptp(omega[0])


def test_renormalised_spectrum_grows_with_time():
    """At one time in five hundred Newton's step was taken where its slope is infinite, as 0."""
    start = np.array([5e-324, 1e-307, 1.0, 2.0, 1e160])
    ts = np.concatenate([[0.0, 56837.861822755614], np.geomspace(1e5, 1e300, 3000)])
    omega = laws.renormalised_spectrum(start, ts, samples_per_class=10)
    np.testing.assert_array_equal(omega[0], start)
    assert np.all(np.diff(omega, axis=0) >= 0)
    np.testing.assert_allclose(omega[-1, :4], (4e300 / 10) ** 0.25, rtol=1e-12)
    np.testing.assert_array_equal(omega[:, 4], 1e160)
    (two,) = laws.renormalised_spectrum([1.0, 2.0], ts[1:2], samples_per_class=10)
    law = 10 * (9 * np.log(two) + 3 * two**2 + two**4 / 4)
    np.testing.assert_allclose(law[0] - 32.5, ts[1], rtol=1e-12)


def test_small_start_solves_the_linear_flow():
    rng = np.random.default_rng(0)
    K, d, n = 3, 4, 5
    W, H = rng.normal(size=(K, d)), rng.normal(size=(d, K))
    P = np.eye(K) - 1 / K
    solved = solve_ivp(
        lambda t, y: np.concatenate(
            [(n * P @ y[12:].reshape(d, K).T).ravel(), (y[:12].reshape(K, d).T @ P).ravel()]
        ),
        (0, 2),
        np.concatenate([W.ravel(), H.ravel()]),
        t_eval=[0.5, 2.0],
        rtol=1e-12,
        atol=1e-12,
    )
    at_W, at_H = laws.small_start(W, H, [0.5, 2.0], samples_per_class=n)
    np.testing.assert_allclose(at_W.reshape(2, -1), solved.y[:12].T, rtol=0, atol=1e-8)
    np.testing.assert_allclose(at_H.reshape(2, -1), solved.y[12:].T, rtol=0, atol=1e-8)


def test_balanced_gram_far_out_is_the_projector():
    W = np.array([[1.0], [-1.0], [0.0]])
    S = laws.balanced_gram(W @ W.T, [40.0], samples_per_class=100)
    np.testing.assert_allclose(S[0], 10 * W @ W.T / 2, rtol=0, atol=1e-13)


def test_balanced_gram_obeys_its_equation_and_keeps_a_rank():
    rng = np.random.default_rng(1)
    n, P = 4, np.eye(4) - 1 / 4
    A = P @ rng.normal(size=(4, 2))
    S = laws.balanced_gram(0.01 * A @ A.T, np.linspace(0, 1, 2001), samples_per_class=n)
    slope = (S[2:] - S[:-2]) / (2 * 1 / 2000)
    np.testing.assert_allclose(slope, 2 * 2 * S[1:-1] - 2 * S[1:-1] @ S[1:-1], rtol=0, atol=1e-5)
    end = laws.balanced_gram(0.01 * A @ A.T, [50.0], samples_per_class=n)[0]
    np.testing.assert_allclose(np.linalg.eigvalsh(end), [0, 0, 2, 2], rtol=0, atol=1e-10)
    nothing = laws.balanced_gram(np.zeros((3, 3)), [0.0, 1.0], samples_per_class=n)
    np.testing.assert_array_equal(nothing, np.zeros((2, 3, 3)))


def test_imbalance_halves_in_its_half_life():
    initial = np.array([[2.0, 1.0], [1.0, -3.0]])
    law = laws.imbalance(initial, [0.0, np.log(2) / 0.2], decay=0.1)
    np.testing.assert_allclose(law, [initial, initial / 2], rtol=1e-15)
    np.testing.assert_array_equal(laws.imbalance(initial, [7.0], decay=0.0), [initial])


def test_time_of_the_mean_loss():
    ts = np.array([0.0, 3.0])
    np.testing.assert_array_equal(laws.sum_time(ts, num_samples=6), [0, 0.5])
    np.testing.assert_array_equal(
        laws.library_time(laws.sum_time(ts, num_samples=6), num_samples=6), ts
    )
    assert laws.sum_decay(0.1, num_samples=20) == 2.0


def test_max_margin_is_the_ratio_on_the_symmetric_manifold():
    # ‖W‖² = ‖H‖² = (K − 1) √n ξ there
    K, n, gap = 4, 3, 2.5
    assert laws.max_margin(num_classes=K, samples_per_class=n) == pytest.approx(
        gap / ((K - 1) * np.sqrt(n) * gap), rel=1e-15
    )


def test_inversion_far_out_on_an_exponential():
    # Newton's steps have length one there: a million of them, were the bracket not halved
    x = invert_increasing(
        lambda x: (np.expm1(x), np.exp(x)), np.array([1.0, 1e9]), np.zeros(2), np.full(2, 1e6)
    )
    np.testing.assert_allclose(x, np.log1p([1.0, 1e9]), rtol=1e-15)


def test_slopes_of_inverted_functions_are_derivatives(monkeypatch):
    """A wrong one ends at the same root, by halving, after fifty times the work."""
    asked = []

    def checked(at, values, low, high):
        x = invert_increasing(at, values, low, high)
        h = 1e-5 * (1 + np.abs(x))
        difference = (at(x + h)[0] - at(x - h)[0]) / (2 * h)
        np.testing.assert_allclose(at(x)[1], difference, rtol=1e-7)
        asked.append(at.__qualname__)
        return x

    laws_of = (cross_entropy_dynamics, inversion, modes, squared_error_flows, balanced_softmax)
    for module in laws_of:
        monkeypatch.setattr(module, "invert_increasing", checked)
    symmetric = {"start": 0.2, "num_classes": 5, "samples_per_class": 4}
    for depth, decay in ((1, 0.0), (3, 0.0), (3, 0.01)):
        laws.cross_entropy_gap(TS, depth=depth, decay=decay, **symmetric)
    laws.fixed_etf_gap(TS, num_classes=4, squared_scale=2.0)
    laws.renormalised_spectrum((0.3, 2.0), TS, samples_per_class=3)
    laws.balanced_softmax_logits([5, 3, 1], strength=0.1)
    laws.balanced_softmax_logits([5, 3, 1], length=3.0)
    assert len(set(asked)) == 6


@pytest.mark.parametrize("given", [{"strength": 1.0}, {"length": 300.0}], ids=str)
def test_inversion_ends_where_only_rounding_is_left(given, monkeypatch):
    """Values that are noise at more than the last digit of the root are no long search."""
    asked = []

    def counted(at, *rest):
        return invert_increasing(lambda x: asked.append(x) or at(x), *rest)

    monkeypatch.setattr(balanced_softmax, "invert_increasing", counted)
    counts = np.random.default_rng(0).integers(1, 200, (100, 10))
    laws.balanced_softmax_logits(counts, **given)
    assert len(asked) < 20


def test_quadrature_inverts_a_known_law():
    # dt/dw = 1 + e^w, t = w + e^w − 1
    w = np.array([0.0, 0.1, 1.0, 7.3, 30.0])
    np.testing.assert_allclose(follow(lambda x: 1 + np.exp(x), w + np.expm1(w)), w, rtol=1e-13)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        pytest.param(
            lambda: laws.saxe_mode([-1.0], target=1.0, start=1.0),
            "`ts` must be finite and >= 0",
            id="negative-time",
        ),
        pytest.param(
            lambda: laws.saxe_mode(TS, target=1.0, start=-1.0),
            "`start` must be finite and >= 0; got -1.0",
            id="negative-start",
        ),
        pytest.param(
            lambda: laws.deep_mode(TS, target=1.0, start=1.0, depth=0),
            "`depth` must be a whole number >= 1; got 0",
            id="depth",
        ),
        pytest.param(
            lambda: laws.deep_mode(TS, target=1e300, start=1e-300, depth=2),
            "`start` must be at least 1e-307 of `target`; got 1e-300",
            id="start-beside-the-target",
        ),
        pytest.param(
            lambda: laws.saxe_mode_unbalanced(TS, target=1.0, start=-1.0, imbalance=0.0),
            "`start` must be >= 0 when `imbalance` is 0; got -1.0",
            id="negative-balanced-start",
        ),
        pytest.param(
            lambda: laws.saxe_mode_unbalanced(TS, target=1.0, start=-1.0, imbalance=1e-200),
            "`start` must be >= 0 when `imbalance` is 0; got -1.0",
            id="nearly-balanced-negative-start",
        ),
        pytest.param(
            lambda: laws.cross_entropy_gap(TS, start=1.0, num_classes=1, samples_per_class=2),
            "`num_classes` must be a whole number >= 2; got 1",
            id="K=1",
        ),
        pytest.param(
            lambda: laws.sum_time(TS, num_samples=0),
            "`num_samples` must be finite and > 0; got 0",
            id="N=0",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
