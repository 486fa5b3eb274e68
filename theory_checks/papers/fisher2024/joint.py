r"""Fisher, Meng, Papyan 2024: what the paper assumes of the classifier, with the classifier free as
well.

That the classifier is a simplex ETF is an assumption of the paper and a consequence of its
objective: the convex lift of the problem is invariant under permutations of the classes, so its
unique solution is, and $WW^\top$ with it. Both factors are minimised from random starts; the
duality gap certifies the point. Objective and formulas are in `formulas.py`.
"""

from __future__ import annotations

import numpy as np

import ufm
from theory_checks.engine.measure import GEOMETRY, Point, solve
from theory_checks.engine.registry import Case, Claim, Setting, check
from theory_checks.formulas.frames import contrast
from theory_checks.papers.fisher2024 import formulas
from theory_checks.papers.fisher2024.fixed import figure_records, fitted, fixed_case

_DERIVED = "derived here from the mixup objective of Fisher, Meng & Papyan 2024"
_INSIDE, _BOUNDARY, _OUTSIDE = Setting.INSIDE, Setting.BOUNDARY, Setting.OUTSIDE


def joint_problem(
    num_classes: int,
    alpha: float,
    *,
    lambda_W: float,
    mu: float,
    d=None,
    class_counts=None,
    loss="CrossEntropy",
    nodes=64,
):
    """Mixup with both factors free, d = K unless given."""
    labels = ufm.mixup(num_classes, alpha, nodes=nodes, class_counts=class_counts)
    return ufm.Problem(
        labels,
        loss=getattr(ufm, loss)(),
        widths=(d or num_classes,),
        lambda_W=lambda_W,
        lambda_H=mu,
    )


def threshold(K: int, alpha: float) -> float:
    """ρ/K, ρ = (α + 1)/(2α + 1): from this λ_W μ on the contrasts of the classes are given up."""
    return (0.5 if alpha == np.inf else (alpha + 1) / (2 * alpha + 1)) / K


def mixed_case(
    name: str,
    setting: Setting,
    *,
    K: int = 3,
    alpha: float = 1.0,
    decay=None,
    share=None,
    ratio: float = 1.0,
    figure=False,
    full=False,
    **parameters,
) -> Case:
    """A case with λ_W μ = decay², or this share of the threshold; `ratio` is λ_W/μ."""
    decay = np.sqrt(share * threshold(K, alpha)) if share is not None else decay
    parameters = {
        "num_classes": K,
        "alpha": alpha,
        "lambda_W": decay * ratio**0.5,
        "mu": decay / ratio**0.5,
    } | parameters
    return Case(
        name, setting, parameters, build=joint_problem, options={"figure": figure}, full=full
    )


def _symmetric(case: Case, loss: str) -> Setting:
    problem, p = case.problem, case.parameters
    return Setting.all_of(
        type(problem.loss).__name__ == loss,
        p.get("class_counts") is None,
        problem.depth == 1,
        not problem.has_bias,
        problem.feature_dim >= p["num_classes"] - (loss == "CrossEntropy"),
    )


def learned(case: Case) -> float:
    """s of the learned classifier, from the law of λ that the labels were made with."""
    p = case.parameters
    return formulas.learned_strength(p["num_classes"], *_law(case), p["lambda_W"], p["mu"])


def _law(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of λ that the labels were made with; without mixup λ = 1 or 0."""
    alpha = case.parameters["alpha"]
    if alpha == 0:
        return np.array([0.0, 1.0]), np.array([0.5, 0.5])
    return ufm.labels.beta_quadrature(alpha, nodes=case.parameters.get("nodes", 64))


def etf_regime(case: Case) -> Setting:
    """Cross-entropy, balanced classes, one layer, no bias, d >= K − 1, λ_W μ < ρ/K with ρ = E[λ² +
    (1−λ)²]."""
    p = case.parameters
    usual = _symmetric(case, "CrossEntropy")
    return Setting.all_of(
        usual, Setting.below(p["lambda_W"] * p["mu"], threshold(p["num_classes"], p["alpha"]))
    )


LEARNED = mixed_case("K=3, μ=0.05", _INSIDE, decay=0.05, figure=True)


@check(
    key="fisher2024/etf-is-learned",
    formula=r"WW^\top=aP,\quad \mathbb E\|q-p\|^2=(K-1)\lambda_W\mu,\quad p+sz=q,\ s=\mu/a",
    source=_DERIVED,
    regime=etf_regime,
    cases=(
        LEARNED,
        mixed_case("K=3, μ=0.005", _INSIDE, decay=0.005, figure=True),
        mixed_case("K=3, 0.97 of the threshold", _INSIDE, share=0.97),
        mixed_case("K=4, d=3, λ_W/μ=9", _INSIDE, K=4, decay=0.02, d=3, ratio=9.0),
        mixed_case("K=3, no mixup", _INSIDE, alpha=0.0, decay=0.05, ratio=0.25),
        mixed_case("K=4, λ=1/2 always", _INSIDE, K=4, alpha=np.inf, decay=0.02, full=True),
        mixed_case("K=4, α=0.2", _INSIDE, K=4, alpha=0.2, decay=0.02, full=True),
        mixed_case("K=5, d=4, α=2", _INSIDE, K=5, alpha=2.0, decay=0.01, d=4, full=True),
        mixed_case("K=2", _INSIDE, K=2, decay=0.05, full=True),
        mixed_case("K=10, d=9", _INSIDE, K=10, decay=0.01, d=9, nodes=16, full=True),
        mixed_case("unequal class counts", _OUTSIDE, decay=0.05, class_counts=(4, 2, 1)),
        mixed_case("d=K-2", _OUTSIDE, K=4, decay=0.02, d=2, full=True),
    ),
)
def etf_is_learned(case: Case):
    """The classifier that mixup learns is a simplex ETF, of the size that E‖q − p‖² = (K − 1) λ_W μ
    gives it, and so are all features."""
    point, p = Point.of(solve(case)), case.parameters
    K, lambda_W, mu, problem = p["num_classes"], p["lambda_W"], p["mu"], case.problem
    if problem.feature_dim >= K - 1:
        yield point.certificate_claim()
    if case.setting is Setting.INSIDE:
        yield point.closed_form_claim()
    s = learned(case)
    a = mu / s
    pairs = ufm.labels.mixed_pairs(problem.labels)
    predicted = formulas.two_class_logits(K, pairs.first, pairs.second, pairs.lam, s)
    masses, targets = np.asarray(problem.labels.masses), np.asarray(problem.labels.targets)
    losses = np.log(np.exp(predicted).sum(0)) - (targets * predicted).sum(0)
    yield point.value_claim(float(masses @ (losses + s * (predicted**2).sum(0))))
    yield point.weight_gram_claim(a * contrast(K))
    yield Claim("logits", point.logits, predicted, GEOMETRY, scale=float(np.max(np.abs(predicted))))
    gap = float(masses @ np.sum((targets - formulas.softmax(point.logits)) ** 2, axis=0))
    yield Claim(
        "E‖q − p‖² = (K − 1) λ_W μ",
        gap,
        (K - 1) * lambda_W * mu,
        GEOMETRY,
        scale=(K - 1) * lambda_W * mu,
    )
    energies = np.array(
        [
            lambda_W * np.sum(point.classifier**2),
            mu * float(masses @ np.sum(point.features**2, axis=0)),
        ]
    )
    yield Claim(
        "λ_W ‖W‖² = μ E‖h‖²",
        energies,
        np.full(2, lambda_W * a * (K - 1)),
        GEOMETRY,
        scale=lambda_W * a * (K - 1),
    )
    if p["alpha"] == 0:
        yield Claim(
            "gap without mixup",
            formulas.same_class_gap(K, s),
            formulas.unmixed_gap(K, lambda_W, mu),
            GEOMETRY,
        )
    theory = np.linalg.lstsq(point.classifier, predicted, rcond=None)[0]
    yield from figure_records(
        case, point.classifier, point.features, point.logits, theory=theory, s=s
    )


def collapse_regime(case: Case) -> Setting:
    """Cross-entropy, balanced classes, one layer, no bias, λ_W μ >= ρ/K with ρ = E[λ² + (1−λ)²]."""
    p = case.parameters
    usual = _symmetric(case, "CrossEntropy")
    return Setting.all_of(
        usual, Setting.above(p["lambda_W"] * p["mu"], threshold(p["num_classes"], p["alpha"]))
    )


@check(
    key="fisher2024/collapse",
    formula=r"W=0\iff\lambda_W\mu\ge\rho/K,\quad\rho=\mathbb "
    r"E[\lambda^2+(1-\lambda)^2]=\tfrac{\alpha+1}{2\alpha+1}",
    source=_DERIVED,
    regime=collapse_regime,
    cases=(
        mixed_case("K=3, 1.03 of the threshold", _INSIDE, share=1.03, ratio=4.0),
        mixed_case("K=3, at the threshold", _BOUNDARY, share=1.0),
        mixed_case("K=3, 0.97 of the threshold", _OUTSIDE, share=0.97),
        mixed_case(
            "K=4, λ=1/2 always, 1.03 of the threshold",
            _INSIDE,
            K=4,
            alpha=np.inf,
            share=1.03,
            full=True,
        ),
        mixed_case(
            "K=4, λ=1/2 always, 0.97 of the threshold",
            _OUTSIDE,
            K=4,
            alpha=np.inf,
            share=0.97,
            full=True,
        ),
        mixed_case("K=3, no mixup, 1.03 of the threshold", _INSIDE, alpha=0.0, share=1.03),
        mixed_case("K=3, no mixup, 0.97 of the threshold", _OUTSIDE, alpha=0.0, share=0.97),
        mixed_case(
            "K=4, α=0.2, 1.03 of the threshold", _INSIDE, K=4, alpha=0.2, share=1.03, full=True
        ),
        mixed_case(
            "K=4, α=0.2, 0.97 of the threshold", _OUTSIDE, K=4, alpha=0.2, share=0.97, full=True
        ),
    ),
)
def collapse(case: Case):
    """From λ_W μ = ρ/K on nothing is learned: classifier and features are zero. Mixup makes that
    threshold smaller, by ρ."""
    point, K = Point.of(solve(case)), case.parameters["num_classes"]
    yield point.certificate_claim()
    yield point.closed_form_claim()
    yield point.value_claim(float(np.log(K)))
    yield Claim("logits", point.logits, np.zeros_like(point.logits), GEOMETRY)
    yield point.weight_gram_claim(np.zeros((K, K)))


def convex_regime(case: Case) -> Setting:
    """Squared error without bias, any classifier."""
    return Setting.all_of(
        isinstance(case.problem.loss, ufm.MeanSquaredError), not case.problem.has_bias
    )


def _fixed(name: str, setting: Setting, *, loss: str, **parameters) -> Case:
    return fixed_case(name, setting, K=3, s=0.1, alpha=1.0, loss=loss, **parameters)


SQUARED = _fixed("ETF", _INSIDE, loss="MeanSquaredError", figure=True)


@check(
    key="fisher2024/squared-error-is-convex",
    formula=r"h^\lambda_{ij}=(W^\top W+\mu I)^{-1}W^\top q=\lambda h_i+(1-\lambda)h_j",
    source="Fisher, Meng & Papyan 2024, mixup with squared error",
    regime=convex_regime,
    cases=(
        SQUARED,
        _fixed(
            "rows of unequal length",
            _INSIDE,
            loss="MeanSquaredError",
            lengths=(3.0, 1.0, 0.3),
            figure=True,
        ),
        _fixed("cross-entropy", _OUTSIDE, loss="CrossEntropy"),
    ),
)
def squared_error_is_convex(case: Case):
    """With squared error the features of mixtures are the same mixtures of the features of the
    classes, whatever the classifier."""
    W, H, Z = fitted(case.problem)
    problem = case.problem
    K, targets = problem.labels.num_classes, np.asarray(problem.labels.targets)
    mu = float(problem.lambda_H * problem.labels.num_samples)
    direct = np.linalg.solve(W.T @ W + mu * np.eye(W.shape[1]), W.T @ targets)
    size = float(np.max(np.abs(direct)))
    # the first K columns are the classes themselves
    yield Claim("λ h_i + (1 − λ) h_j", H, H[:, :K] @ targets, GEOMETRY, scale=size)
    yield Claim("features", H, direct, GEOMETRY, scale=size)
    yield from figure_records(case, W, H, Z, theory=direct)


def spectrum_regime(case: Case) -> Setting:
    """Squared error, balanced classes, one layer, no bias, d >= K; each mode with λ_W μ below its
    second moment, or given up."""
    return _symmetric(case, "MeanSquaredError")


@check(
    key="fisher2024/squared-error-spectrum",
    formula=(
        r"\mathrm{spec}\,WW^\top=\sqrt{\mu/\lambda_W}\,\big(\sqrt "
        r"e-\sqrt{\lambda_W\mu}\big)_+,\quad"
        r" e=\rho/K\ (K-1\text{ times, on contrasts}),\ 1/K\ (\text{on }\mathbf 1)"
    ),
    source=_DERIVED,
    regime=spectrum_regime,
    cases=(
        mixed_case("K=3", _INSIDE, decay=0.1, loss="MeanSquaredError", ratio=4.0),
        mixed_case(
            "K=3, 0.97 of the contrasts' threshold", _INSIDE, share=0.97, loss="MeanSquaredError"
        ),
        mixed_case("K=3, at the contrasts' threshold", _INSIDE, share=1.0, loss="MeanSquaredError"),
        mixed_case(
            "K=3, 1.03 of the contrasts' threshold", _INSIDE, share=1.03, loss="MeanSquaredError"
        ),
        mixed_case(
            "K=3, 1.03 of the mean's threshold", _INSIDE, share=1.03 * 1.5, loss="MeanSquaredError"
        ),
        mixed_case("K=4", _INSIDE, K=4, decay=0.02, loss="MeanSquaredError", full=True),
        mixed_case(
            "unequal class counts",
            _OUTSIDE,
            decay=0.1,
            loss="MeanSquaredError",
            class_counts=(4, 2, 1),
        ),
    ),
)
def squared_error_spectrum(case: Case):
    """With squared error mixup shrinks the K − 1 contrasts of the classifier by ρ and leaves its
    mean: no ETF, and two thresholds."""
    point, p = Point.of(solve(case)), case.parameters
    K, product = p["num_classes"], p["lambda_W"] * p["mu"]
    moments = np.array([threshold(K, p["alpha"]), 1 / K])
    sizes = np.maximum(np.sqrt(moments) - np.sqrt(product), 0)
    yield point.certificate_claim()
    yield point.closed_form_claim()
    # ½ E‖q‖² and what each mode saves of it, ½ (√e − √(λ_W μ))²
    yield point.value_claim(
        float(0.5 * ((K - 1) * (moments[0] - sizes[0] ** 2) + moments[1] - sizes[1] ** 2))
    )
    spectrum = np.sqrt(p["mu"] / p["lambda_W"]) * sizes
    # relative to the largest eigenvalue: at a threshold those that vanish are known to 1e-8 of it
    # only
    size = float(spectrum.max()) or point.weight_size()
    yield Claim(
        "W Wᵀ",
        point.classifier @ point.classifier.T,
        spectrum[0] * contrast(K) + spectrum[1] / K,
        GEOMETRY,
        scale=size,
    )
