r"""Tirer, Huang & Niles-Weed 2023, Theorems 4.1 and 4.2: the first-order answer of the minimiser to
a change of its anchor.

The measured map is the implicit derivative of the *measured* minimiser: second derivatives of
`ufm.model.objective` at the point that `ufm.minimise` found, which shares no code with the
formulas.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np
from jax.flatten_util import ravel_pytree

import ufm
from theory_checks.engine.measure import solve
from theory_checks.engine.registry import Case, Claim, Record, Setting, check
from theory_checks.engine.trajectories import band_claim, one_sided_claim, record
from theory_checks.papers.tirer2023.anchors import case, minimiser, pulled, random_features

_INSIDE, _OUTSIDE = Setting.INSIDE, Setting.OUTSIDE
# Singular values lie in (0, 1]; the minimiser is exact to 1e-12 times a condition number 1 +
# (largest curvature)/β of at most a hundred.
SPECTRUM = 1e-10
# how far an order fitted over one decade may be from its limit
_ORDER = 0.05
# β² times the second-order error of the printed values, at most: r² and (4 λ_H (1 − c))² are of
# order one
_CONSTANT = 10.0


@jax.jit
def _second_derivatives(problem: ufm.Problem, at: ufm.Params):
    """∇²f in columns of H, then W, and ∂(∇f)/∂H_0."""
    flat, unravel = ravel_pytree((at.features.T, at.weights))

    def value(flat, anchor):
        columns, weights = unravel(flat)
        moved = ufm.Problem(
            problem.labels,
            loss=problem.loss,
            widths=problem.widths,
            lambda_W=problem.lambda_W,
            lambda_H=problem.lambda_H,
            anchor=anchor.reshape(columns.shape).T,
            beta=problem.beta,
        )
        return ufm.model.objective(moved, ufm.Params(weights, columns.T))

    assert problem.anchor is not None
    anchor = problem.anchor.T.ravel()
    return jax.hessian(value)(flat, anchor), jax.jacfwd(jax.grad(value), argnums=1)(flat, anchor)


def measured_response(problem: ufm.Problem, at: ufm.Params) -> np.ndarray:
    """dH/dH_0 at a minimiser (dN, dN), columns of H stacked: −(∇²f)⁻¹ ∂(∇f)/∂H_0, rows of H."""
    hessian, mixed = map(np.asarray, _second_derivatives(problem, at))
    return -np.linalg.solve(hessian, mixed)[: at.features.size]


def _decays(case: Case) -> dict[str, float]:
    return {name: case.parameters[name] for name in ("lambda_W", "lambda_H")}


def _settings(case: Case) -> dict[str, Any]:
    K, d = case.problem.labels.num_classes, case.problem.feature_dim
    return {
        "num_classes": K,
        "samples_per_class": int(case.problem.labels.num_columns) // K,
        "feature_dim": d,
        **_decays(case),
    }


def _collapsed_response(case: Case, beta: float) -> tuple[np.ndarray, np.ndarray]:
    """The measured map at the minimiser that is pulled to collapsed features, or to features `off`
    by some noise, and those features."""
    H = np.asarray(solve(case).params.features)
    H = H + case.options.get("off", 0.0) * np.asarray(
        jax.random.normal(jax.random.fold_in(case.key, 2), H.shape)
    )
    problem = pulled(case, H, beta=beta)
    return measured_response(problem, minimiser(problem, case.key)), H


def map_regime(case: Case) -> Setting:
    """A nondegenerate minimiser, any anchor; d >= K."""
    return Setting.all_of(
        case.problem.feature_dim >= case.problem.labels.num_classes,
        case.options.get("wrong", 1.0) == 1.0,
    )


@check(
    key="tirer2023/first-order-map",
    formula=r"\mathrm{vec}(dH) = "
    r"\tfrac{\beta}{Kn}\left(\nabla_{HH} - "
    r"\nabla_{HW}\nabla_{WW}^{-1}\nabla_{WH}\right)^{-1}\mathrm{vec}(dH_0) + O(\|dH_0\|^2)",
    source="Tirer, Huang & Niles-Weed 2023, Theorem 4.1",
    regime=map_regime,
    cases=(
        case("random anchor, β=10", beta=10.0),
        case("random anchor, β=2, K=2, n=4", K=2, n=4, beta=2.0, seed=1, full=True),
        case("random anchor, β=100, d=6", d=6, beta=100.0, seed=2, full=True),
        case("collapsed anchor, β=2", beta=2.0, collapsed=True, seed=3),
        case("the map for twice the pull", _OUTSIDE, beta=10.0, wrong=2.0),
    ),
)
def first_order_map(case: Case):
    """A small change of the anchor moves the minimiser by F dH_0, with an error of second order."""
    beta, Y = case.options["beta"], np.asarray(case.problem.labels.targets)
    H0 = (
        np.asarray(solve(case).params.features)
        if case.options.get("collapsed")
        else random_features(case)
    )
    problem = pulled(case, H0, beta=beta)
    base = minimiser(problem, case.key)
    pull = case.options.get("wrong", 1.0) * beta
    F = ufm.perturbation.response(base.classifier, base.features, Y, beta=pull, **_decays(case))
    direction = np.asarray(jax.random.normal(jax.random.fold_in(case.key, 3), H0.shape))
    direction = direction / np.linalg.norm(direction)
    predicted = (F @ direction.ravel(order="F")).reshape(H0.shape, order="F")
    sizes, errors = np.array([1e-1, 1e-2, 1e-3]), []
    for size in sizes:
        moved = minimiser(pulled(case, H0 + size * direction, beta=beta), case.key, start=base)
        change = np.asarray(moved.features) - np.asarray(base.features)
        errors.append(np.linalg.norm(change - size * predicted))
    yield Claim(
        "implicit derivative of the measured minimiser",
        measured_response(problem, base),
        F,
        SPECTRUM,
    )
    yield band_claim("order of the error", np.log10(errors[1] / errors[2]), 2.0, band=_ORDER)
    yield record(
        "finite changes",
        sizes,
        measured=np.array(errors),
        law=errors[-1] * (sizes / sizes[-1]) ** 2,
    )


def collapse_regime(case: Case) -> Setting:
    """Balanced classes, λ_W λ_H < 1, d >= K, the anchor a collapsed minimiser; any β."""
    strength = case.parameters["lambda_W"] * case.parameters["lambda_H"]
    return Setting.all_of(
        len(set(case.parameters["class_counts"])) == 1,
        Setting.below(strength, 1.0),
        case.problem.feature_dim >= case.problem.labels.num_classes,
        case.options.get("off", 0.0) == 0.0,
    )


# the sizes of the paper's figure; its λ_H are not in the text
STAIRS = tuple(
    case(
        f"figure: λ_H={lam}",
        K=4,
        n=10,
        d=10,
        lambda_W=2**0.5,
        lambda_H=lam,
        beta=100.0,
        seed=4,
        full=True,
    )
    for lam in (0.05, 0.2, 0.5)
)
_SPECTRUM_CASES = (
    case("K=3, n=5, d=4, β=1", beta=1.0),
    case(
        "K=4, n=3, d=6, λ_W=√2, λ_H=0.3, β=100",
        K=4,
        n=3,
        d=6,
        lambda_W=2**0.5,
        lambda_H=0.3,
        beta=100.0,
        seed=1,
    ),
    case(
        "K=2, n=4, d=5, c=0.95, β=0.5",
        K=2,
        n=4,
        d=5,
        lambda_W=1.0,
        lambda_H=0.9025,
        beta=0.5,
        seed=2,
        full=True,
    ),
    case("K=3, n=2, d=3 = K, β=10", n=2, d=3, beta=10.0, seed=3, full=True),
    case("anchor 5 % off", _OUTSIDE, beta=1.0, off=0.05),
    case("counts 7/5/3", _OUTSIDE, counts=(7, 5, 3), beta=1.0),
    *STAIRS,
)


@check(
    key="tirer2023/gain-spectrum",
    formula=r"\mathrm{spec}\,F = \left\{\tfrac{\beta}{\beta+r}\times K^2(n-1),\ "
    r"\tfrac{\beta}{\beta+\lambda_H}\times (d-K)K(n-1),"
    r"\ \tfrac{\beta}{\beta+4\lambda_H(1-c)}\times\tfrac{K(K+1)}2,\ 1\times\tfrac{K(K-1)}2 + "
    r"(d-K)K\right\}",
    source="derived; strengthens Theorem 4.2 of Tirer, Huang & Niles-Weed 2023 to every β",
    regime=collapse_regime,
    cases=_SPECTRUM_CASES,
)
def gain_spectrum(case: Case):
    """Four gains at collapse: for noise in the span of the means, for noise off it, for stretching
    the means, for turning them."""
    settings, beta = _settings(case), case.options["beta"]
    F, _ = _collapsed_response(case, beta)
    gains = ufm.perturbation.gains(beta=beta, **settings)
    singular = np.linalg.svd(F, compute_uv=False)
    yield Claim("F is symmetric", F, F.T, SPECTRUM)
    yield Claim("singular values of F, with multiplicity", singular, gains.spectrum, SPECTRUM)
    block = settings["feature_dim"] * settings["samples_per_class"]
    staircase = ufm.perturbation.diagonal_block_gains(beta=beta, **settings).spectrum
    blocks = F.reshape(settings["num_classes"], block, settings["num_classes"], block).swapaxes(
        1, 2
    )
    across = np.zeros(block)
    across[0] = ufm.perturbation.cross_talk(beta=beta, **_decays(case))
    for k, row in enumerate(blocks):
        for other, part in enumerate(row):
            name = f"singular values of F_{k + 1}{other + 1}"
            yield Claim(
                name,
                np.linalg.svd(part, compute_uv=False),
                staircase if other == k else across,
                SPECTRUM,
            )
    yield record(
        "staircase",
        np.arange(block),
        measured=np.linalg.svd(blocks[0, 0], compute_uv=False),
        law=staircase,
    )


def strong_regime(case: Case) -> Setting:
    """As for the spectrum, with d > K and β ≫ max(1, λ_H)."""
    problem = case.problem
    return Setting.all_of(collapse_regime(case), problem.feature_dim > problem.labels.num_classes)


@check(
    key="tirer2023/leading-order",
    formula=r"\sigma_{max}(F_{kk}) = 1,\quad \sigma_{min}(F_{kk}) = 1 - "
    r"\tfrac1\beta\sqrt{\lambda_H/\lambda_W},"
    r"\quad \sigma_{max}(F_{k\tilde k}) = \tfrac{2}{\beta}\lambda_H(1-\sqrt{\lambda_H\lambda_W})",
    source="Tirer, Huang & Niles-Weed 2023, Theorem 4.2",
    regime=strong_regime,
    cases=(
        case("K=3, n=5, d=4"),
        case(
            "K=4, n=3, d=6, λ_W=√2, λ_H=0.3", K=4, n=3, d=6, lambda_W=2**0.5, lambda_H=0.3, seed=1
        ),
        case("K=2, n=4, d=5, λ_W=1, λ_H=0.5", K=2, n=4, d=5, lambda_W=1.0, lambda_H=0.5, seed=2),
        case("anchor 5 % off", _OUTSIDE, off=0.05),
        case("d=3 = K", _OUTSIDE, d=3),
    ),
)
def leading_order(case: Case):
    """For a strong pull the blocks of the map have the printed singular values, up to second order
    in 1/β.

    The fraction of singular values of F_kk equal to 1 is (1 − K/d)/n (printed with another letter).
    """
    settings = _settings(case)
    K, n, d = settings["num_classes"], settings["samples_per_class"], settings["feature_dim"]
    errors = []
    for beta in (1e3, 1e4):
        F, _ = _collapsed_response(case, beta)
        printed = ufm.perturbation.leading_order(beta=beta, **_decays(case))
        own = np.linalg.svd(F[: d * n, : d * n], compute_uv=False)
        across = np.linalg.svd(F[: d * n, d * n : 2 * d * n], compute_uv=False)
        yield Claim(f"β={beta:g}: largest of F_kk", own[0], printed["diagonal largest"], SPECTRUM)
        yield Claim(
            f"β={beta:g}: share of ones",
            np.mean(np.abs(own - 1) < SPECTRUM),
            (1 - K / d) / n,
            SPECTRUM,
        )
        yield Claim(f"β={beta:g}: F_kk' has rank one", across[1:], np.zeros(d * n - 1), SPECTRUM)
        errors.append([own[-1] - printed["diagonal smallest"], across[0] - printed["off-diagonal"]])
        for name, error in zip(("smallest of F_kk", "largest of F_kk'"), errors[-1], strict=True):
            yield band_claim(f"β={beta:g}: {name}, error", error, 0.0, band=_CONSTANT / beta**2)
    orders = np.log10(np.abs(np.array(errors[0]) / np.array(errors[1])))
    yield band_claim("order of the errors in 1/β", orders, 2.0, band=_ORDER)


# c at the points of a sweep; 2/3 among them, where cross-talk is largest in λ_H
_SWEEP = np.array([0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 2 / 3, 0.8, 0.9, 0.97])


SWEEPS = (
    case("λ_H up to the end of collapse", lambda_W=2**0.5, lambda_H=0.2, vary="lambda_H"),
    case("λ_W up to the end of collapse", lambda_W=0.2, lambda_H=0.5, vary="lambda_W", seed=1),
)


def sweep_regime(case: Case) -> Setting:
    """As for the spectrum, with d > K, at every point of the sweep."""
    return strong_regime(case)


@check(
    key="tirer2023/hyperparameters",
    formula=r"1-g:\ \tfrac{r}{\beta+r},\ \tfrac{\lambda_H}{\beta+\lambda_H},\ "
    r"\tfrac{4\lambda_H(1-c)}{\beta+4\lambda_H(1-c)};"
    r"\quad r = \sqrt{\lambda_H/\lambda_W},\ c = \sqrt{\lambda_H\lambda_W}",
    source="derived; Tirer, Huang & Niles-Weed 2023 discuss the effect of the hyperparameters "
    "after Theorem 4.2",
    regime=sweep_regime,
    cases=(
        *SWEEPS,
        case("anchor 5 % off", _OUTSIDE, lambda_W=2**0.5, lambda_H=0.2, vary="lambda_H", off=0.05),
        case("d=3 = K", _OUTSIDE, d=3, lambda_W=2**0.5, lambda_H=0.2, vary="lambda_H"),
    ),
)
def hyperparameters(case: Case):
    """Decay of the features attenuates noise, decay of the classifier lets it pass; cross-talk
    peaks at c = 2/3 in λ_H, falls with λ_W."""
    vary, beta = case.options["vary"], 10.0
    held = case.parameters["lambda_W" if vary == "lambda_H" else "lambda_H"]
    values, measured, predicted = _SWEEP**2 / held, [], []
    for value in values:
        there = dataclasses.replace(case, parameters={**case.parameters, vary: float(value)})
        settings = _settings(there)
        gains = ufm.perturbation.gains(beta=beta, **settings).values
        talk = ufm.perturbation.cross_talk(beta=beta, **_decays(there))
        predicted.append([*(1 - gains[:3]), talk])
        measured.append(
            _attenuations(
                *_collapsed_response(there, beta),
                settings["samples_per_class"],
                settings["feature_dim"],
            )
        )
    measured, predicted = np.array(measured), np.array(predicted)
    names = ("in span", "off span", "stretch", "cross-talk")
    for name, of_flow, law in zip(names, measured.T, predicted.T, strict=True):
        yield Claim(f"attenuation: {name}", of_flow, law, SPECTRUM)
    if vary == "lambda_H":
        yield one_sided_claim(
            "grows with λ_H: noise in the span and off it", -np.diff(measured[:, :2], axis=0)
        )
        yield Claim(
            "c where cross-talk is largest", _SWEEP[np.argmax(measured[:, 3])], 2 / 3, SPECTRUM
        )
    else:
        yield one_sided_claim(
            "falls with λ_W: noise in the span, stretching and cross-talk",
            np.diff(measured[:, [0, 2, 3]], axis=0),
        )
    columns = dict(zip(names, measured.T, strict=True)) | {
        f"law: {n}": law for n, law in zip(names, predicted.T, strict=True)
    }
    yield Record(f"attenuation against {vary}", {vary: values, "c": _SWEEP, **columns})


def _attenuations(F: np.ndarray, H: np.ndarray, n: int, d: int) -> list[float]:
    """1 − ⟨D, F D⟩/‖D‖² for noise of class 1 in the span of the means and off it and for stretching
    its mean, and the norm of F_12."""
    # columns of a class are consecutive; with d > K the last left singular vector is orthogonal to
    # the means
    left = np.linalg.svd(H)[0]
    mean = H[:, :n].mean(axis=1)
    noise, whole = np.zeros(H.shape[1]), np.zeros(H.shape[1])
    noise[:2], whole[:n] = (1, -1), 1
    directions = [
        np.outer(v, columns).ravel(order="F")
        for v, columns in ((mean, noise), (left[:, -1], noise), (mean, whole))
    ]
    return [
        *(1 - float(D @ F @ D / (D @ D)) for D in directions),
        float(np.linalg.norm(F[: d * n, d * n : 2 * d * n], 2)),
    ]
