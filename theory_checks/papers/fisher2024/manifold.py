r"""Fisher, Meng, Papyan 2024: manifold mixup, where the features of mixtures are tied to those of
the classes.

    E[ CE(W (λ h_i + (1−λ) h_j), q) ] + μ/2 Σ_k π_k ‖h_k‖² + λ_W/2 ‖W‖²

is no `ufm.Problem`, because one feature serves many targets. It is minimised here as it stands, by
Newton's method with the whole Hessian, from a random start. Objective and formulas for free
features are in `formulas.py`.
"""

from __future__ import annotations

import functools

import numpy as np

import ufm
from theory_checks.engine.measure import CERTIFICATE, GEOMETRY, VALUE, NotConverged
from theory_checks.engine.registry import Case, Claim, Setting, check
from theory_checks.formulas.frames import contrast
from theory_checks.formulas.roots import bisect
from theory_checks.papers.fisher2024 import formulas
from theory_checks.papers.fisher2024.fixed import figure_records
from theory_checks.papers.fisher2024.joint import mixed_case, threshold

_INSIDE, _OUTSIDE = Setting.INSIDE, Setting.OUTSIDE

# relative to the root of the value; the same demand as that of `ufm.minimise`
_GRADIENT = 1e-12


def _factors(x, problem: ufm.Problem):
    """W and H from the flat (√λ_W W, √(μ π_k) h_k)."""
    import jax.numpy as jnp

    K, d = problem.labels.num_classes, problem.feature_dim
    W, H = x[: K * d].reshape(K, d), x[K * d :].reshape(d, K)
    return W / jnp.sqrt(problem.lambda_W[0]), H / jnp.sqrt(
        problem.lambda_H * problem.labels.class_counts
    )[None, :]


def _objective(x, problem: ufm.Problem):
    """The tied objective."""
    import jax.numpy as jnp
    from jax.nn import logsumexp

    W, H = _factors(x, problem)
    targets = problem.labels.targets
    Z = W @ H @ targets
    return (
        problem.labels.masses @ (logsumexp(Z, axis=0) - jnp.sum(targets * Z, axis=0)) + 0.5 * x @ x
    )


@functools.cache
def _compiled():
    """The objective with its gradient, and its Hessian, compiled once a shape."""
    import jax

    return jax.jit(jax.value_and_grad(_objective)), jax.jit(jax.hessian(_objective))


def _minimum(case: Case) -> tuple[np.ndarray, np.ndarray, float]:
    """W, H and the value, by Newton's method with eigenvalues in absolute value and a search along
    the step."""
    import jax

    value_and_gradient, hessian = _compiled()
    problem = case.problem
    x = 0.3 * np.asarray(
        jax.random.normal(case.key, (2 * problem.labels.num_classes * problem.feature_dim,))
    )
    gradient = np.full_like(x, np.nan)
    for _ in range(300):
        value, gradient = map(np.asarray, value_and_gradient(x, problem))
        if np.linalg.norm(gradient) <= _GRADIENT * np.sqrt(2 * value):
            W, H = _factors(x, problem)
            return np.asarray(W), np.asarray(H), float(value)
        spectrum, basis = np.linalg.eigh(np.asarray(hessian(x, problem)))
        # changes of basis leave the value alone: their eigenvalue is 0, and so is their part of the
        # gradient
        step = -basis @ ((basis.T @ gradient) / np.maximum(np.abs(spectrum), 1e-7))
        size = 1.0
        # a decrease that is lost in rounding counts as one
        while size > 1e-10:
            enough = value + 1e-4 * size * float(gradient @ step) + 4e-16 * abs(value)
            if float(value_and_gradient(x + size * step, problem)[0]) <= enough:
                break
            size /= 2
        x = x + size * step
    raise NotConverged(
        f"gradient {np.linalg.norm(gradient):.1e} after 300 steps of the tied problem"
    )


def _law(case: Case):
    """λ, weights and ‖q‖² of all pairs, a class with itself being λ = 1."""
    K, alpha = case.parameters["num_classes"], case.parameters["alpha"]
    lam, weights = ufm.labels.beta_quadrature(alpha) if alpha > 0 else (np.ones(1), np.ones(1))
    lam, weights = np.append(lam, 1.0), np.append(weights * (1 - 1 / K), 1 / K)
    return lam, weights, lam**2 + (1 - lam) ** 2


def _loss(K: int, zeta: float, lam):
    """logsumexp(ζ q) and its slope q·p, for every λ."""
    logits = zeta * np.stack([lam, 1 - lam, *np.zeros((K - 2, len(lam)))])
    top = logits.max(axis=0)
    return top + np.log(np.exp(logits - top).sum(0)), (
        formulas.softmax(logits)[:2] * np.stack([lam, 1 - lam])
    ).sum(0)


def _price(case: Case) -> float:
    p = case.parameters
    return float(np.sqrt(p["lambda_W"] * p["mu"] / p["num_classes"]) * (p["num_classes"] - 1))


def tied_regime(case: Case) -> Setting:
    """Cross-entropy, balanced classes, no bias, d >= K − 1, features of mixtures tied to those of
    the classes."""
    p = case.parameters
    return Setting.all_of(
        p.get("class_counts") is None, case.problem.feature_dim >= p["num_classes"] - 1
    )


def _case(
    name: str, setting: Setting, *, K: int = 3, alpha: float = 1.0, decay=None, share=None, **rest
) -> Case:
    """A case with λ_W μ = decay², or this share of the threshold ρ²/K."""
    decay = np.sqrt(share * K) * threshold(K, alpha) if share is not None else decay
    return mixed_case(name, setting, K=K, alpha=alpha, decay=decay, **rest)


TIED = _case("K=3, μ=0.05", _INSIDE, decay=0.05, figure=True)


@check(
    key="fisher2024/manifold-mixup",
    formula=(
        r"W\bar H=\zeta P,\quad\zeta=\arg\min_{\zeta\ge0}\ \mathbb "
        r"E\big[\log\textstyle\sum_ke^{\zeta q_k}-\zeta\|q\|^2\big]"
        r"+\sqrt{\lambda_W\mu/K}\,(K-1)\,\zeta,\quad\zeta=0\iff\lambda_W\mu\ge\rho^2/K"
    ),
    source="derived here; Fisher, Meng & Papyan 2024 compare earlier layers with manifold mixup",
    regime=tied_regime,
    cases=(
        TIED,
        _case("K=3, μ=0.005", _INSIDE, decay=0.005, figure=True),
        _case("K=3, 0.97 of the threshold", _INSIDE, share=0.97),
        _case("K=3, 1.03 of the threshold", _INSIDE, share=1.03),
        _case("K=3, no mixup", _INSIDE, alpha=0.0, decay=0.05),
        _case("K=4, d=3, λ_W/μ=9", _INSIDE, K=4, decay=0.02, ratio=9.0, d=3, full=True),
        _case("K=2", _INSIDE, K=2, alpha=0.5, decay=0.05, full=True),
        _case("unequal class counts", _OUTSIDE, decay=0.05, class_counts=(4, 2, 1)),
    ),
)
def manifold_mixup(case: Case):
    """Manifold mixup learns a simplex ETF of a size that solves one scalar problem, and nothing
    from λ_W μ = ρ²/K on."""
    W, H, value = _minimum(case)
    p, labels = case.parameters, case.problem.labels
    K, lambda_W, mu = p["num_classes"], p["lambda_W"], p["mu"]
    class_logits, targets = W @ H, np.asarray(labels.targets)
    yield from _dual_claims(case, class_logits, value)

    lam, weights, moments = _law(case)
    price, moment = _price(case), float(weights @ moments)

    def slope(zeta):
        return float(weights @ _loss(K, float(zeta), lam)[1]) - moment + price

    # a larger ζ would cost more than zero does, log K
    zeta = float(bisect(slope, 0.0, np.log(K) / price, steps=100)) if slope(0.0) < 0 else 0.0
    predicted = float(weights @ _loss(K, zeta, lam)[0]) - zeta * moment + price * zeta
    size = max(zeta, 1.0)
    yield Claim("value of the tied problem", value, predicted, VALUE, scale=predicted)
    yield Claim("W H̄ = ζ P", class_logits, zeta * contrast(K), GEOMETRY, scale=size)
    # balance: λ_W WᵀW = (μ/K) H̄ H̄ᵀ
    yield Claim(
        "W Wᵀ", W @ W.T * np.sqrt(lambda_W * K / mu), zeta * contrast(K), GEOMETRY, scale=size
    )
    if p["alpha"] == 0:
        yield Claim("ζ without mixup", zeta, formulas.unmixed_gap(K, lambda_W, mu), GEOMETRY)
    if case.setting is _INSIDE:
        known, known_value = ufm.laws.manifold_mixup_optimum(
            K, p["alpha"], lambda_W=lambda_W, lambda_H=mu
        )
        yield Claim(
            "ufm.laws.manifold_mixup_optimum",
            [zeta, predicted],
            [known, known_value],
            GEOMETRY,
            scale=size,
            witness=True,
        )
    yield from figure_records(
        case,
        W,
        H @ targets,
        class_logits @ targets,
        theory=np.linalg.lstsq(W, zeta * contrast(K) @ targets)[0],
    )


def _dual_claims(case: Case, class_logits: np.ndarray, value: float):
    """The tied problem is convex in W H̄, with a nuclear norm for the decay: evidence that the
    point found is its minimum.

    With Γ the gradient of the loss in W H̄ D, D² = diag(π_k): ‖Γ‖_op <= √(λ_W μ) and ⟨Γ, W H̄ D⟩ +
    √(λ_W μ) ‖W H̄ D‖_* = 0.
    """
    labels, p = case.problem.labels, case.parameters
    targets, masses = np.asarray(labels.targets), np.asarray(labels.masses)
    D = np.sqrt(targets @ masses)
    gradient = ((formulas.softmax(class_logits @ targets) - targets) * masses) @ targets.T
    price = np.sqrt(p["lambda_W"] * p["mu"])
    excess = max(0.0, float(np.linalg.norm(gradient / D, 2)) / price - 1)
    gap = float(np.sum(gradient * class_logits)) + price * float(
        np.linalg.norm(class_logits * D, "nuc")
    )
    yield Claim("dual feasibility", excess, 0.0, CERTIFICATE, witness=True)
    yield Claim("complementary slackness", gap / value, 0.0, CERTIFICATE, witness=True)
