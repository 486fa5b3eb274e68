r"""What the papers' theorems rest on and take for granted, each tried on its own.

The collapsed problem has the optimum of the full one; every stationary point is balanced; ridge on
factors is a Schatten quasi-norm on their product; squared error decouples into scalar problems,
with a free bias too when the class counts are not equal.
"""

from __future__ import annotations

import jax
import numpy as np

import ufm
from theory_checks.engine.measure import GEOMETRY, Point, Setup, matrix_claim, solve, value_at
from theory_checks.engine.registry import Case, Claim, NotConverged, Setting, check
from theory_checks.formulas.squared_error import decay, missing, threshold

_EQUAL, _LONG = (10, 10, 10, 10), (20, 10, 6, 4)
_INSIDE, _OUTSIDE = Setting.INSIDE, Setting.OUTSIDE
_STARTS = {1: 1, 2: 256, 3: 128}


def _case(
    name,
    setting,
    *,
    lam,
    counts=_LONG,
    widths=(8,),
    bias=None,
    loss="MeanSquaredError",
    spread=None,
    options=None,
    starts=None,
    full=False,
):
    """A case with decay λ, or with λ times `spread` (outermost factor first, features last)."""
    M = len(widths)
    spread = (1.0,) * (M + 1) if spread is None else spread
    parameters = {
        "class_counts": counts,
        "widths": widths,
        "lambda_W": tuple(lam * a for a in spread[:-1]),
        "lambda_H": lam * spread[-1],
        "bias": bias,
        "loss": loss,
    }
    return Case(
        name,
        setting,
        parameters,
        options=options or {},
        starts=_STARTS[M] if starts is None else starts,
        full=full,
    )


def collapsed_regime(case: Case) -> Setting:
    """A loss convex in the logits, every width at least K, and masses of the collapsed columns
    equal to the class counts."""
    problem, counts = case.problem, case.parameters["class_counts"]
    return Setting.all_of(
        problem.loss.convex,
        min(problem.widths) >= len(counts),
        case.options.get("masses", counts) == counts,
    )


@check(
    key="ufm/collapsed-equals-full",
    formula=r"\min_{W,H\in\mathbb R^{d\times N}} = \min_{W,\bar H\in\mathbb R^{d\times "
    r"K}}\quad\text{with masses } n_k",
    source="Jensen's inequality in each class; used silently by every paper",
    regime=collapsed_regime,
    cases=(
        _case("squared error, M=1", _INSIDE, lam=0.01),
        _case("squared error, M=1, free bias", _INSIDE, lam=0.01, bias="free", full=True),
        _case("squared error, M=2", _INSIDE, lam=0.004, widths=(8, 8), full=True),
        _case("cross-entropy, M=1, free bias", _INSIDE, lam=0.01, bias="free", loss="CrossEntropy"),
        _case(
            "squared error, masses forgotten", _OUTSIDE, lam=0.01, options={"masses": (1, 1, 1, 1)}
        ),
    ),
)
def collapsed_equals_full(case: Case):
    """One column of mass n_k a class has the same optimum as n_k columns of mass 1, which collapse
    to their mean."""
    point = Point.of(solve(case))
    parameters = {
        **case.parameters,
        "class_counts": case.options.get("masses", case.parameters["class_counts"]),
        "collapsed": True,
    }
    small = Point.of(solve(Case(case.id, case.setting, parameters, starts=case.starts)))
    if point.problem.depth == 1:
        yield point.certificate_claim()
    yield point.value_claim(small.value)
    yield point.collapse_claim()
    yield Claim(
        "logits, centred",
        _centred(point.logits),
        _centred(small.logits)[:, point.class_index],
        GEOMETRY,
    )
    yield point.weight_gram_claim(small.classifier @ small.classifier.T)
    yield point.feature_gram_claim(small.class_means.T @ small.class_means)


def _centred(logits: np.ndarray) -> np.ndarray:
    """Logits less their mean over the classes: cross-entropy with a free bias does not see that
    mean."""
    return logits - logits.mean(axis=0)


def balance_regime(case: Case) -> Setting:
    """A stationary point of the objective, not necessarily a minimiser, with every λ > 0."""
    return Setting.all_of(case.options["point"] == "stationary")


_STATIONARY = {"point": "stationary"}


@check(
    key="ufm/balance",
    formula=r"\lambda_{m+1}W_{m+1}^\top W_{m+1} = \lambda_mW_mW_m^\top,\quad \lambda_1W_1^\top "
    r"W_1 = \lambda_HHH^\top",
    source="stationarity in neighbouring factors; Dang et al. 2023 and most papers start from it",
    regime=balance_regime,
    cases=(
        _case("squared error, M=1", _INSIDE, lam=0.01, options=_STATIONARY),
        _case(
            "squared error, M=3, unequal λ",
            _INSIDE,
            lam=0.02,
            widths=(8, 8, 8),
            spread=(2.0, 0.5, 4.0, 0.25),
            options=_STATIONARY,
        ),
        _case(
            "squared error, M=2, widths (8, 5)",
            _INSIDE,
            lam=0.004,
            widths=(8, 5),
            bias="free",
            options=_STATIONARY,
            full=True,
        ),
        _case(
            "cross-entropy, M=2",
            _INSIDE,
            lam=0.004,
            widths=(8, 8),
            loss="CrossEntropy",
            options=_STATIONARY,
        ),
        _case("a random point", _OUTSIDE, lam=0.01, options={"point": "random"}),
    ),
)
def balance(case: Case):
    """At every stationary point neighbouring factors carry the same decay, as matrices and so in
    every direction."""
    for i, key in enumerate(jax.random.split(case.key, 3)):
        params = ufm.solvers.random_start(case.problem, key=key)
        if case.options["point"] == "stationary":
            # one start each, so that local minima are looked at too
            solution = ufm.minimise(case.problem, start=params, progress=False)
            if solution.result is not ufm.Result.CONVERGED:
                raise NotConverged(str(solution))
            params = solution.params
        factors = [*(np.asarray(W) for W in params.weights), np.asarray(params.features)]
        decays = [*np.asarray(case.problem.lambda_W), float(case.problem.lambda_H)]
        for j in range(len(decays) - 1):
            outer, inner = (
                decays[j] * factors[j].T @ factors[j],
                decays[j + 1] * factors[j + 1] @ factors[j + 1].T,
            )
            yield matrix_claim(f"stationary point {i + 1}, pair {j + 1}", outer, inner, size=1.0)


def schatten_regime(case: Case) -> Setting:
    """A minimiser, every λ > 0, and every width at least K."""
    wide = min(case.problem.widths) >= case.problem.labels.num_classes
    return Setting.all_of(case.options["point"] == "stationary", wide)


@check(
    key="ufm/schatten-reduction",
    formula=(
        r"\sum_m\tfrac{\lambda_m}2\|W_m\|^2+\tfrac{\lambda_H}2\|H\|^2 = "
        r"\tfrac{M+1}{2}\Lambda\sum_js_j(W_M\cdots W_1H)^{2/(M+1)},\quad"
        r" \Lambda=(\lambda_1\cdots\lambda_M\lambda_H)^{1/(M+1)}"
    ),
    source="arithmetic–geometric mean on aligned singular values; also stated by Garrod & Keating "
    "2025",
    regime=schatten_regime,
    cases=(
        _case(
            "squared error, M=1, unequal λ",
            _INSIDE,
            lam=0.01,
            spread=(4.0, 0.25),
            options=_STATIONARY,
        ),
        _case("squared error, M=2", _INSIDE, lam=0.004, widths=(8, 8), options=_STATIONARY),
        _case(
            "squared error, M=3, unequal λ",
            _INSIDE,
            lam=0.02,
            widths=(8, 8, 8),
            spread=(2.0, 0.5, 4.0, 0.25),
            options=_STATIONARY,
        ),
        _case(
            "cross-entropy, M=2",
            _INSIDE,
            lam=0.004,
            widths=(8, 8),
            loss="CrossEntropy",
            options=_STATIONARY,
            full=True,
        ),
        _case("a random point", _OUTSIDE, lam=0.01, options={"point": "random"}),
    ),
)
def schatten_reduction(case: Case):
    """The least decay of a product is a Schatten quasi-norm of it, with every factor's singular
    values a fixed power of its own."""
    stationary = case.options["point"] == "stationary"
    params = (
        solve(case).params if stationary else ufm.solvers.random_start(case.problem, key=case.key)
    )
    value = value_at(case.problem, params)
    factors = [*(np.asarray(W) for W in params.weights), np.asarray(params.features)]
    decays = np.array([*np.asarray(case.problem.lambda_W), float(case.problem.lambda_H)])
    M, K = case.problem.depth, case.problem.labels.num_classes
    mean = float(np.prod(decays)) ** (1 / (M + 1))
    product = np.linalg.svd(np.asarray(params.classifier) @ factors[-1], compute_uv=False)[:K]
    squares = [np.sum(V**2) for V in factors]
    ridge = np.dot(decays, squares) / 2
    bound = (M + 1) / 2 * mean * np.sum(product ** (2 / (M + 1)))
    yield matrix_claim("decay", ridge, bound, size=value)
    for name, lam, V in zip(
        [*(f"W_{m}" for m in range(M, 0, -1)), "H"], decays, factors, strict=True
    ):
        # the power of the factor and not the root of the product, which would blow the rounding of
        # a zero up to its (M+1)-th root
        power = (np.sqrt(lam / mean) * np.linalg.svd(V, compute_uv=False)[:K]) ** (M + 1)
        yield matrix_claim(f"singular values of {name}, to the power M+1", power, product, size=1.0)


def _loads(s: Setup, mu: np.ndarray) -> np.ndarray:
    """t_j = b/μ_j."""
    return s.M * s.N * (s.N * np.prod(s.lambda_W) * s.lambda_H) ** (1 / s.M) / mu


def free_bias_regime(case: Case) -> Setting:
    """Squared error, a free bias, any class counts, every width at least K − 1, no direction at its
    threshold."""
    s = Setup.of(case.problem)
    mu = np.linalg.eigvalsh(np.diag(s.counts) - np.outer(s.counts, s.counts) / s.N)[1:]
    off = [Setting.below(t, threshold(s.M)) is not Setting.BOUNDARY for t in _loads(s, mu)]
    squared = isinstance(case.problem.loss, ufm.MeanSquaredError)
    return Setting.all_of(squared, s.bias == "free", s.R >= s.K - 1, *off)


@check(
    key="ufm/imbalanced-free-bias",
    formula=r"\mu_j = \text{eigenvalues of } D-\tfrac1N nn^\top,\quad L^* = "
    r"\tfrac1{2N}\sum_j\mu_j\,g(x_j),\quad t_j = b/\mu_j",
    source="the scalar problem of Dang et al. 2023 on the label matrix that a free bias has "
    "centred",
    regime=free_bias_regime,
    cases=(
        _case("M=1", _INSIDE, lam=0.01, bias="free"),
        _case("M=1, three directions lost", _INSIDE, lam=0.07, bias="free"),
        _case("M=2", _INSIDE, lam=0.004, widths=(8, 8), bias="free"),
        _case("M=1, equal counts", _INSIDE, lam=decay(0.1, _EQUAL, 1), counts=_EQUAL, bias="free"),
        _case("M=1, no bias", _OUTSIDE, lam=0.01),
    ),
)
def imbalanced_free_bias(case: Case):
    """With a free bias squared error decouples along the eigenvectors of D − nnᵀ/N, whatever the
    class counts."""
    point, setup = Point.of(solve(case)), Setup.of(case.problem)
    targets = np.asarray(case.problem.labels.targets)
    mean = targets.mean(axis=1)
    left, roots, right = np.linalg.svd(targets - mean[:, None], full_matrices=False)
    left, mu, right = left[:, :-1], roots[:-1] ** 2, right[:-1]
    loads = _loads(setup, mu)
    absent = np.array([missing(t, setup.M) if t < threshold(setup.M) else 1.0 for t in loads])
    terms = absent + loads * ((1 - absent) / absent) ** (1 / setup.M)
    predicted = (left * ((1 - absent) * np.sqrt(mu))) @ right
    yield from point.witnesses()
    yield point.value_claim(float(mu @ terms) / (2 * setup.N))
    yield Claim("logits", point.logits, predicted + mean[:, None], GEOMETRY)
    if setup.bias == "free":
        yield point.bias_claim(mean)
    singular = np.linalg.svd(point.classifier, compute_uv=False)[: setup.K - 1]
    powers = setup.N * setup.lambda_H * (1 - absent) / absent
    yield matrix_claim("singular values of W", singular, np.sqrt(powers), size=1.0)
