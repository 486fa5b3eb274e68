"""Squared error with a penalised bias: the simplex ETF, where it ends, and narrow features."""

from __future__ import annotations

import numpy as np

from theory_checks.engine.measure import Point, Setup, matrix_claim, projector_claims, solve
from theory_checks.engine.registry import Case, Setting, check
from theory_checks.formulas.frames import contrast

_SOURCE = "Zhou et al. 2022, squared error with bias decay, global minimisers"
_COUNTS = (10, 10, 10, 10)
_INSIDE, _BOUNDARY, _OUTSIDE = Setting.INSIDE, Setting.BOUNDARY, Setting.OUTSIDE


def _c0(setup: Setup) -> float:
    """c0 = K √(n λ_W λ_H): what decay costs a contrast."""
    return setup.K * float(np.sqrt(setup.n * setup.lambda_W[0] * setup.lambda_H))


def _fractions(setup: Setup) -> tuple[float, float]:
    """Fractions reached by the contrasts (not clipped: its sign says where the formula ends) and by
    the mean direction."""
    c0 = _c0(setup)
    return 1 - c0, max(0.0, 1 - c0 * (1 + setup.lambda_b) / setup.lambda_b)


def _case(
    name: str,
    setting: Setting,
    *,
    c0: float,
    lambda_b: float,
    counts=_COUNTS,
    d: int = 8,
    ratio: float = 1.0,
    full=False,
) -> Case:
    """A case with this c0; `ratio` is λ_W / λ_H."""
    lam = c0 / (len(counts) * (sum(counts) / len(counts)) ** 0.5)
    parameters = {
        "class_counts": counts,
        "widths": (d,),
        "lambda_W": lam * ratio**0.5,
        "lambda_H": lam / ratio**0.5,
        "bias": lambda_b,
    }
    return Case(name, setting, parameters, full=full)


def _etf_bound(c0: float) -> float:
    return c0 / (1 - c0)


def _geometry(point: Point, setup: Setup):
    """Everything from the two fractions: logits, Grams, self-duality, bias, value."""
    f, f0 = _fractions(setup)
    K, lambda_b = setup.K, setup.lambda_b
    omega, c0 = lambda_b / (1 + lambda_b), _c0(setup)
    root = float(np.sqrt(setup.n * setup.lambda_H / setup.lambda_W[0]))
    shape = f * contrast(K) + f0 * np.full((K, K), 1 / K)
    bias = np.full(K, (1 - f0) / (K * (1 + lambda_b)))
    mean_term = 1 - (1 - c0 / omega) ** 2 if c0 < omega else 1.0
    yield point.value_claim(((K - 1) * (1 - (1 - c0) ** 2) + omega * mean_term) / (2 * K))
    yield point.collapse_claim()
    yield point.logits_claim(shape + bias[:, None])
    yield point.bias_claim(bias)
    yield point.weight_gram_claim(root * shape)
    yield point.feature_gram_claim(shape / root)
    yield matrix_claim(
        "self-duality: W = √(n λ_H/λ_W) H̄ᵀ",
        point.classifier,
        root * point.class_means.T,
        size=1.0,
        like=np.sqrt(root * abs(f)),
    )


def _witnesses(point: Point, setup: Setup):
    yield point.certificate_claim()
    # with a penalised bias and unequal counts there is no closed form, only the certificate
    if setup.balanced:
        yield point.closed_form_claim()


def etf_regime(case: Case) -> Setting:
    """Equal class counts, one layer, d >= K, c0 = K √(n λ_W λ_H) < 1 and a bias penalty λ_b <=
    c0/(1 − c0)."""
    s = Setup.of(case.problem)
    c0 = _c0(s)
    usual = Setting.all_of(
        s.balanced, s.M == 1, s.R >= s.K, s.bias == "penalised", Setting.below(c0, 1.0)
    )
    return (
        usual
        if usual is Setting.OUTSIDE
        else Setting.all_of(usual, Setting.below(s.lambda_b, _etf_bound(c0)))
    )


@check(
    key="zhou2022/etf-with-bias-decay",
    formula=(
        r"\lambda_b\le\tfrac{c_0}{1-c_0}\ \Rightarrow\ WW^\top\propto\bar H^\top\bar H\propto "
        r"I_K-\tfrac1K\mathbf 1\mathbf 1^\top,"
        r"\ b=\tfrac{1}{K(1+\lambda_b)}\mathbf 1"
    ),
    source=_SOURCE,
    regime=etf_regime,
    cases=(
        _case(
            "λ_b at 0.01 of the bound", _INSIDE, c0=0.3, lambda_b=0.01 * _etf_bound(0.3), ratio=4.0
        ),
        _case("λ_b at 0.97 of the bound", _INSIDE, c0=0.3, lambda_b=0.97 * _etf_bound(0.3)),
        _case(
            "λ_b at 0.97 of the bound, weak decay",
            _INSIDE,
            c0=0.01,
            lambda_b=0.97 * _etf_bound(0.01),
        ),
        _case("λ_b → 0", _INSIDE, c0=0.3, lambda_b=1e-8),
        _case("λ_b at the bound", _BOUNDARY, c0=0.3, lambda_b=_etf_bound(0.3)),
        _case("λ_b at 1.03 of the bound", _OUTSIDE, c0=0.3, lambda_b=1.03 * _etf_bound(0.3)),
        _case("λ_b at 30 times the bound", _OUTSIDE, c0=0.3, lambda_b=30 * _etf_bound(0.3)),
        _case("c0=1.03", _OUTSIDE, c0=1.03, lambda_b=0.1),
        _case("unequal counts", _OUTSIDE, c0=0.3, lambda_b=0.1, counts=(20, 10, 6, 4)),
    ),
)
def etf_with_bias_decay(case: Case):
    """Balanced classes and a penalised bias: an exact simplex ETF as long as λ_b <= c0/(1 − c0),
    with a bias that is not zero."""
    point, setup = Point.of(solve(case)), Setup.of(case.problem)
    f, K = 1 - _c0(setup), setup.K
    root = float(np.sqrt(setup.n * setup.lambda_H / setup.lambda_W[0]))
    yield from _witnesses(point, setup)
    yield point.collapse_claim()
    yield point.weight_gram_claim(root * f * contrast(K))
    yield point.feature_gram_claim(f / root * contrast(K))
    yield point.bias_claim(np.full(K, 1 / (K * (1 + setup.lambda_b))))


def penalised_regime(case: Case) -> Setting:
    """Equal class counts, one layer, d >= K, a penalised bias, c0 = K √(n λ_W λ_H) < 1."""
    s = Setup.of(case.problem)
    return Setting.all_of(
        s.balanced, s.M == 1, s.R >= s.K, s.bias == "penalised", Setting.below(_c0(s), 1.0)
    )


@check(
    key="zhou2022/penalised-bias",
    formula=(
        r"W\bar H = (1-c_0)S + \big(1-\tfrac{c_0}{\omega}\big)_+\tfrac1K\mathbf 1\mathbf "
        r"1^\top,\quad b = \tfrac{1-f_0}{K(1+\lambda_b)}\mathbf 1,\quad "
        r"\omega=\tfrac{\lambda_b}{1+\lambda_b}"
    ),
    source=_SOURCE,
    regime=penalised_regime,
    cases=(
        _case("below the ETF bound", _INSIDE, c0=0.3, lambda_b=0.1, ratio=4.0),
        _case("λ_b at 1.03 of the ETF bound", _INSIDE, c0=0.3, lambda_b=1.03 * _etf_bound(0.3)),
        _case("λ_b=5", _INSIDE, c0=0.3, lambda_b=5.0, ratio=0.25),
        _case("λ_b → ∞, nearly an orthogonal frame", _INSIDE, c0=0.1, lambda_b=1e6),
        _case("c0=0.97", _INSIDE, c0=0.97, lambda_b=1.0),
        _case("c0=1", _BOUNDARY, c0=1.0, lambda_b=1.0),
        _case("c0=1.03", _OUTSIDE, c0=1.03, lambda_b=1.0),
        _case("unequal counts", _OUTSIDE, c0=0.3, lambda_b=1.0, counts=(20, 10, 6, 4)),
    ),
)
def penalised_bias(case: Case):
    """Balanced classes and a penalised bias: the Grams go continuously from a simplex ETF to an
    orthogonal frame as λ_b grows."""
    point, setup = Point.of(solve(case)), Setup.of(case.problem)
    yield from _witnesses(point, setup)
    yield from _geometry(point, setup)


def narrow_regime(case: Case) -> Setting:
    """Equal class counts, one layer, d <= K − 1, a penalised bias, c0 = K √(n λ_W λ_H) < 1."""
    s = Setup.of(case.problem)
    return Setting.all_of(
        s.balanced, s.M == 1, s.R <= s.K - 1, s.bias == "penalised", Setting.below(_c0(s), 1.0)
    )


@check(
    key="zhou2022/penalised-bias-narrow",
    formula=(
        r"d\le K-1\ \Rightarrow\ W\bar H = (1-c_0)\Pi,\ \Pi\mathbf 1=0,\ \mathrm{rank}\,\Pi=d,\quad"
        r" b=\tfrac{1}{K(1+\lambda_b)}\mathbf 1"
    ),
    source=_SOURCE,
    regime=narrow_regime,
    cases=(
        _case("d=K-1, λ_b far above the ETF bound", _INSIDE, c0=0.3, lambda_b=5.0, d=3),
        _case("d=2", _INSIDE, c0=0.3, lambda_b=1.0, d=2, full=True),
        _case("d=K, λ_b above the ETF bound", _OUTSIDE, c0=0.3, lambda_b=5.0, d=4),
    ),
)
def penalised_bias_narrow(case: Case):
    """For d <= K − 1 there is no room for the mean direction: a rank-d projector orthogonal to 1,
    whatever the bias penalty."""
    point, setup = Point.of(solve(case)), Setup.of(case.problem)
    f, K, rank = 1 - _c0(setup), setup.K, min(setup.R, setup.K)
    omega = setup.lambda_b / (1 + setup.lambda_b)
    yield point.closed_form_claim()
    if setup.R >= K:
        yield point.certificate_claim()
    yield point.value_claim((rank * (1 - f**2) + K - 1 - rank + omega) / (2 * K))
    yield point.collapse_claim()
    yield point.bias_claim(np.full(K, 1 / (K * (1 + setup.lambda_b))))
    yield from projector_claims("W H̄", point.linear_logits, factor=f, rank=rank, null=np.ones(K))
