"""Squared error on balanced classes: frames, thresholds, and the model with one more layer."""

from __future__ import annotations

import jax
import numpy as np

import ufm
from theory_checks.engine.measure import (
    GEOMETRY,
    VALUE,
    Point,
    Setup,
    matrix_claim,
    solve,
    value_at,
)
from theory_checks.engine.registry import Case, Claim, Setting, check, one_hot_problem
from theory_checks.formulas.frames import contrast
from theory_checks.formulas.squared_error import (
    as_balanced,
    branch,
    mean_strength,
    mean_value,
    threshold,
)

_COUNTS = (10, 10, 10, 10)
_INSIDE, _BOUNDARY, _OUTSIDE = Setting.INSIDE, Setting.BOUNDARY, Setting.OUTSIDE


def translated(class_counts, *, widths, lambda_W, lambda_H, bias=None):
    """The problem with decay given in their normalisation."""
    K, N = len(class_counts), sum(class_counts)
    lambda_W = tuple(lam / K for lam in np.atleast_1d(lambda_W).tolist())
    return one_hot_problem(
        class_counts, widths=widths, lambda_W=lambda_W, lambda_H=lambda_H / N, bias=bias
    )


def their_objective(W, H, b, Y, *, lambda_W, lambda_H) -> float:
    """Their objective as they write it; W holds (W_2, W_1) or (W,)."""
    K, N = Y.shape
    product = np.linalg.multi_dot([*W, H]) if len(W) > 1 else W[0] @ H
    fit = np.sum((product + b[:, None] - Y) ** 2) / (2 * N)
    return (
        fit
        + sum(lam * np.sum(V**2) for lam, V in zip(lambda_W, W, strict=True)) / (2 * K)
        + lambda_H * np.sum(H**2) / (2 * N)
    )


def _case(
    name: str,
    setting: Setting,
    *,
    c: float,
    ratio=1.0,
    counts=_COUNTS,
    widths=(8,),
    bias=None,
    build=translated,
) -> Case:
    """A case with c = √(λ_W λ_H) in their normalisation, `ratio` = λ_W / λ_H; two layers share
    λ_W."""
    lambda_W = (c * ratio**0.5,) * len(widths)
    parameters = {
        "class_counts": counts,
        "widths": widths,
        "lambda_W": lambda_W,
        "lambda_H": c / ratio**0.5,
        "bias": bias,
    }
    # (of two layers every start comes to the same minimum, in these cases)
    return Case(name, setting, parameters, build=build, starts=1 if len(widths) == 1 else 64)


def _theirs(case: Case) -> tuple[float, float]:
    """λ_W and λ_H of a one-layer case, in their normalisation."""
    return case.parameters["lambda_W"][0], case.parameters["lambda_H"]


def _untranslated(class_counts, *, widths, lambda_W, lambda_H, bias=None):
    """The mistake that the translation prevents: their λ read as ours."""
    return one_hot_problem(
        class_counts, widths=widths, lambda_W=lambda_W, lambda_H=lambda_H, bias=bias
    )


def normalisation_regime(case: Case) -> Setting:
    """Decay translated by the table at the top of the file."""
    return Setting.all_of(case.build is translated)


@check(
    key="tirer2022/normalisation",
    formula=r"\lambda_W^{ufm} = \lambda_W/K,\quad \lambda_H^{ufm} = \lambda_H/(Kn)",
    source="Tirer & Bruna 2022, the objectives of the plain and the extended model",
    regime=normalisation_regime,
    cases=(
        _case("plain model, free bias", _INSIDE, c=0.3, ratio=4.0, bias="free"),
        _case("extended model", _INSIDE, c=0.3, ratio=0.5, widths=(8, 8)),
        _case(
            "plain model, their λ read as ours",
            _OUTSIDE,
            c=0.3,
            ratio=4.0,
            bias="free",
            build=_untranslated,
        ),
    ),
)
def normalisation(case: Case):
    """Their objective with their λ and that of `ufm` with the translated λ are the same
    function."""
    for i, key in enumerate(jax.random.split(case.key, 3)):
        params = ufm.solvers.random_start(case.problem, key=key, std=1.0)
        K = case.problem.labels.num_classes
        W, H = [np.asarray(V) for V in params.weights], np.asarray(params.features)
        if params.bias is not None:
            # (a start has none but 0)
            drawn = jax.random.normal(jax.random.fold_in(key, 1), (K,))
            params = ufm.Params(params.weights, params.features, drawn)
        b = np.zeros(K) if params.bias is None else np.asarray(params.bias)
        lambda_W, lambda_H = case.parameters["lambda_W"], case.parameters["lambda_H"]
        theirs = their_objective(
            W, H, b, np.asarray(case.problem.labels.targets), lambda_W=lambda_W, lambda_H=lambda_H
        )
        ours = value_at(case.problem, params)
        yield Claim(f"objective at random point {i + 1}", ours, theirs, VALUE, scale=abs(theirs))


def frame_regime(case: Case) -> Setting:
    """Equal class counts, one layer, d >= K, no bias, c = √(λ_W λ_H) <= 1."""
    s, (lambda_W, lambda_H) = Setup.of(case.problem), _theirs(case)
    return Setting.all_of(
        s.balanced, s.M == 1, s.R >= s.K, s.bias is None, Setting.below(lambda_W * lambda_H, 1.0)
    )


@check(
    key="tirer2022/orthogonal-frame",
    formula=(
        r"\bar H^\top\bar H = \rho I_K,\quad \rho = (1-c)\sqrt{\lambda_W/\lambda_H},\quad"
        r" w_k = \sqrt{\lambda_H/\lambda_W}\,\bar h_k,\quad c = \sqrt{\lambda_W\lambda_H}"
    ),
    source="Tirer & Bruna 2022, plain model without bias",
    regime=frame_regime,
    cases=(
        _case("c=0.02", _INSIDE, c=0.02, ratio=4.0),
        _case("c=0.5", _INSIDE, c=0.5, ratio=0.25),
        _case("c=0.97", _INSIDE, c=0.97),
        _case("c=1", _BOUNDARY, c=1.0),
        _case("c=1.03", _OUTSIDE, c=1.03),
        _case("free bias", _OUTSIDE, c=0.3, bias="free"),
        _case("unequal counts", _OUTSIDE, c=0.3, counts=(20, 10, 6, 4)),
    ),
)
def orthogonal_frame(case: Case):
    """Balanced classes, no bias: collapsed features whose means are an orthogonal frame, aligned
    with the classifier."""
    yield from _plain_claims(case, np.eye(len(case.parameters["class_counts"])))


def _plain_claims(case: Case, shape: np.ndarray):
    """The plain model: everything is a multiple of one matrix, I without bias and S with a free
    one."""
    point, (lambda_W, lambda_H) = Point.of(solve(case)), _theirs(case)
    c, K = float(np.sqrt(lambda_W * lambda_H)), len(shape)
    rho, rank = (1 - c) * float(np.sqrt(lambda_W / lambda_H)), round(np.trace(shape))
    yield from point.witnesses()
    yield point.value_claim(rank * (1 - (1 - c) ** 2) / (2 * K))
    yield point.collapse_claim()
    yield point.feature_gram_claim(rho * shape)
    yield point.weight_gram_claim(lambda_H / lambda_W * rho * shape)
    yield matrix_claim(
        "w_k = √(λ_H/λ_W) h̄_k",
        point.classifier,
        np.sqrt(lambda_H / lambda_W) * point.class_means.T,
        size=np.sqrt(point.weight_size()),
        like=np.sqrt(lambda_H / lambda_W * abs(rho)),
    )
    yield Claim("W H̄", point.linear_logits, (1 - c) * shape, GEOMETRY)


def zero_regime(case: Case) -> Setting:
    """Equal class counts, one layer, no bias, c = √(λ_W λ_H) > 1 (c = 1 is the boundary)."""
    s, (lambda_W, lambda_H) = Setup.of(case.problem), _theirs(case)
    return Setting.all_of(
        s.balanced, s.M == 1, s.bias is None, Setting.above(lambda_W * lambda_H, 1.0)
    )


@check(
    key="tirer2022/zero-beyond-threshold",
    formula=r"c > 1\ \Rightarrow\ W = 0,\ H = 0",
    source="Tirer & Bruna 2022, plain model without bias, large regularisation",
    regime=zero_regime,
    cases=(
        _case("c=1.03", _INSIDE, c=1.03),
        _case("c=5", _INSIDE, c=5.0, ratio=4.0),
        _case("c=1", _BOUNDARY, c=1.0),
        _case("c=0.97", _OUTSIDE, c=0.97),
    ),
)
def zero_beyond_threshold(case: Case):
    """For c > 1 the only minimiser is zero."""
    point = Point.of(solve(case))
    K = len(point.class_means.T)
    yield from point.witnesses()
    yield point.value_claim(0.5)
    yield point.weight_gram_claim(np.zeros((K, K)))
    yield point.feature_gram_claim(np.zeros((K, K)))


def etf_regime(case: Case) -> Setting:
    """Equal class counts, one layer, d >= K, a free (unpenalised) bias, c = √(λ_W λ_H) <= 1."""
    s, (lambda_W, lambda_H) = Setup.of(case.problem), _theirs(case)
    return Setting.all_of(
        s.balanced, s.M == 1, s.R >= s.K, s.bias == "free", Setting.below(lambda_W * lambda_H, 1.0)
    )


@check(
    key="tirer2022/free-bias-etf",
    formula=(
        r"b = \tfrac1K\mathbf 1,\quad \bar H^\top\bar H = \rho\,(I_K-\tfrac1K\mathbf 1\mathbf "
        r"1^\top),\quad w_k = \sqrt{\lambda_H/\lambda_W}\,\bar h_k"
    ),
    source="Tirer & Bruna 2022, plain model with an unregularised bias",
    regime=etf_regime,
    cases=(
        _case("c=0.02", _INSIDE, c=0.02, ratio=4.0, bias="free"),
        _case("c=0.97", _INSIDE, c=0.97, ratio=0.25, bias="free"),
        _case("c=1", _BOUNDARY, c=1.0, bias="free"),
        _case("c=1.03", _OUTSIDE, c=1.03, bias="free"),
        _case("unequal counts", _OUTSIDE, c=0.3, counts=(20, 10, 6, 4), bias="free"),
    ),
)
def free_bias_etf(case: Case):
    """Balanced classes and an unregularised bias: a simplex ETF, and bias exactly 1/K."""
    K = len(case.parameters["class_counts"])
    point = Point.of(solve(case))
    yield point.bias_claim(np.full(K, 1 / K))
    yield from _plain_claims(case, contrast(K))


def extended_regime(case: Case) -> Setting:
    """Equal class counts, two linear layers, every width at least K, no bias, decay below the
    threshold t_c = 1/2 of M = 2."""
    s = Setup.of(case.problem)
    return Setting.all_of(
        s.balanced,
        s.M == 2,
        s.R >= s.K,
        s.bias is None,
        Setting.below(mean_strength(s), threshold(2)),
    )


@check(
    key="tirer2022/extended-model",
    formula=(
        r"\bar H^\top\bar H\propto(W_1\bar H)^\top W_1\bar H\propto W_2W_2^\top\propto I_K,\quad"
        r" W_2W_1\propto\bar H^\top,\quad W_2\propto(W_1\bar H)^\top"
    ),
    source="Tirer & Bruna 2022, extended model with two linear layers, without bias",
    regime=extended_regime,
    cases=(
        _case("c=0.01", _INSIDE, c=0.01, ratio=4.0, widths=(8, 8)),
        _case("c=0.05", _INSIDE, c=0.05, ratio=0.25, widths=(8, 8)),
        _case("unequal counts", _OUTSIDE, c=0.01, counts=(20, 10, 6, 4), widths=(8, 8)),
        _case("free bias", _OUTSIDE, c=0.01, widths=(8, 8), bias="free"),
    ),
)
def extended_model(case: Case):
    """Two linear layers, balanced classes, no bias: an orthogonal frame in every layer, each
    aligned with the next."""
    point, setup = Point.of(solve(case)), as_balanced(Setup.of(case.problem))
    outer, inner = point.weights
    hidden, eye = inner @ point.class_means, np.eye(setup.K)
    yield from point.witnesses()
    yield point.value_claim(mean_value(setup, branch(setup, clip=False), setup.K))
    yield point.collapse_claim()
    for name, frame in (
        ("H̄", point.class_means),
        ("W_1 H̄", hidden),
        ("W_2ᵀ", outer.T),
        ("(W_2 W_1)ᵀ", point.classifier.T),
    ):
        gram = frame.T @ frame
        yield Claim(
            f"Gram of {name} over its mean length", gram / (np.trace(gram) / setup.K), eye, GEOMETRY
        )
    for name, left, right in (
        ("W_2 W_1 with H̄ᵀ", point.classifier, point.class_means.T),
        ("W_2 with (W_1 H̄)ᵀ", outer, hidden.T),
    ):
        cosine = np.sum(left * right) / (np.linalg.norm(left) * np.linalg.norm(right))
        # the angle, because the cosine is blind to it at first order
        yield Claim(f"angle of {name}", np.sqrt(2 * abs(1 - cosine)), 0.0, GEOMETRY)
