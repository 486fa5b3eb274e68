r"""Squared error, complete: any depth, masses, rank bottleneck and decays; no bias, a free one, or a penalised one that decouples.

With $\tilde Y = Q\,\mathrm{diag}(\sqrt m)$ and $X = W_M\cdots W_1 H\,\mathrm{diag}(\sqrt m)$ the decay is, at best,
$\frac{M+1}{2}\Lambda\sum_j s_j(X)^{2/(M+1)}$ with $\Lambda$ the geometric mean of all M + 1 decays, so by von Neumann's trace inequality X
shares the singular vectors of its target and every direction is one scalar problem. A free bias centres the target; a penalised one gives
its mean direction the weight $\lambda_b/(1+\lambda_b)$.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ufm.optima.optimum import DEGENERATE, NoClosedForm, Optimum, Spectrum, merged_columns
from ufm.optima.scalar import collapse_load, existence_load, solve_scalar
from ufm.problem import Problem, require_decay

_DEEP = "Dang, Tran, Osher, Tran-The, Ho & Nguyen 2023 (arXiv 2301.00437)"
_ZHOU = "Zhou et al. 2022, squared-error landscape, global optimality with a penalised bias"
_LIU = "Liu 2024 (arXiv 2411.17278), extended unconstrained features model with a bias, imbalanced squared error"
_DERIVED = "derived here from the Schatten form of the decay, as in"


@dataclass(frozen=True, kw_only=True, eq=False)
class _Target:
    """What the product has to reach once the best bias is put in: singular triples, loss weights, and that bias."""

    left: np.ndarray
    sigma: np.ndarray
    right: np.ndarray
    loss_weight: np.ndarray
    bias_at_zero: np.ndarray | None
    mean_direction: int | None


def squared_error_optimum(problem: Problem) -> Optimum:
    r"""The global optimum of a squared-error problem.

    With N the total mass, R the smallest width, $\mu_j$ the squared singular values of the (centred) target and $w_j$ its loss weights:
    loads $t_j = M (N^{M+1}\lambda_1\cdots\lambda_M\lambda_H)^{1/M} / (\mu_j w_j^{(M+1)/M})$, fractions $f_j$ from the scalar problem,
    0 beyond the R best directions, $X = \sum_j f_j\sqrt{\mu_j}\,u_j v_j^\top$ and value $\frac{1}{2N}\sum_j w_j\mu_j\varphi_j$.

    Raises `ValueError` for λ <= 0, `NoClosedForm` for an anchor, fixed weights, or a penalised bias that couples the directions.
    Source: Dang et al. 2023 (one-hot; none or a free bias for balanced classes, no bias for others); Zhou et al. 2022 (penalised bias);
    Liu 2024 (free bias, unequal classes); other targets by the same argument. Does not hold for a penalised bias with unequal classes.
    """
    require_decay(problem, "a closed form")
    if problem.fixed_weights is not None:
        raise NoClosedForm("needs free weights; got `fixed_weights`")
    if problem.anchor is not None:
        raise NoClosedForm("needs features that are pulled to 0 only; got an `anchor`")
    one_hot = problem.labels.is_one_hot()
    full_targets = np.asarray(problem.labels.targets, dtype=np.float64)
    targets, masses, index = merged_columns(full_targets, np.asarray(problem.labels.masses, dtype=np.float64), one_hot=one_hot)
    decays = np.append(np.asarray(problem.lambda_W, dtype=np.float64), np.asarray(problem.lambda_H, dtype=np.float64))
    lambda_b = None if problem.lambda_b is None else float(np.asarray(problem.lambda_b))
    M, N, R = problem.depth, masses.sum(), min(problem.widths)

    target = _target(problem, targets, masses, lambda_b=lambda_b, one_hot=one_hot)
    mu, weight = target.sigma**2, target.loss_weight
    log_b = np.log(M) + (np.log(N) * (M + 1) + np.log(decays).sum()) / M
    loads = np.exp(log_b - np.log(mu) - (M + 1) / M * np.log(weight))
    points = solve_scalar(loads, M)
    fractions = np.where(np.arange(len(mu)) < R, points.fraction, 0.0)
    shortfall = np.where(np.arange(len(mu)) < R, points.shortfall, 1.0)
    spectrum = Spectrum(
        left=target.left,
        right=target.right,
        mu=mu,
        loss_weight=weight,
        loads=loads,
        collapse_load=collapse_load(M),
        existence_load=existence_load(M),
        points=points,
        fractions=fractions,
        rank_limit=R,
        cut=_cut(mu, weight, wanted=points.fraction > 0, R=R),
        masses=masses,
        decays=decays,
        bias_at_zero=target.bias_at_zero,
        mean_direction=target.mean_direction,
    )
    # at a stationary point φ = (1 − f)(1 + M f); written with 1 − f it keeps its digits as λ → 0
    value = float(np.dot(weight * mu, shortfall * (1 + M * fractions)) / (2 * N))
    return Optimum(
        value=value,
        regime=_regime(problem.bias, spectrum, one_hot=one_hot),
        source=_source(problem.bias, spectrum, one_hot=one_hot),
        hypotheses=_hypotheses(problem, spectrum, one_hot=one_hot, lambda_b=lambda_b),
        unique=bool(spectrum.cut is None and not points.boundary[:R].any()),
        column_index=index,
        masses=masses,
        sizes=_sizes(spectrum, targets),
        spectrum=spectrum,
        **spectrum.quantities(fractions),
    )


def _target(problem: Problem, targets: np.ndarray, masses: np.ndarray, *, lambda_b: float | None, one_hot: bool) -> _Target:
    """The mass-weighted target with the bias eliminated, as singular triples by increasing load."""
    root = np.sqrt(masses)
    weighted = targets * root
    if problem.bias is None:
        left, sigma, right = _svd(weighted, scale=None)
        return _Target(left=left, sigma=sigma, right=right, loss_weight=np.ones(len(sigma)), bias_at_zero=None, mean_direction=None)
    mean = targets @ masses / masses.sum()
    unit = root / np.linalg.norm(root)
    toward_mean = weighted @ unit
    mean_size, total_size = float(np.linalg.norm(toward_mean)), float(np.linalg.norm(weighted, 2))
    left, sigma, right = _svd((targets - mean[:, None]) * root, scale=total_size)
    weight = np.ones(len(sigma))
    if lambda_b is None:
        return _Target(left=left, sigma=sigma, right=right, loss_weight=weight, bias_at_zero=mean, mean_direction=None)

    bias_at_zero = mean / (1 + lambda_b)
    rounding = 64 * np.finfo(problem.dtype).eps * np.sqrt(max(weighted.shape))
    if mean_size <= rounding * total_size:
        return _Target(left=left, sigma=sigma, right=right, loss_weight=weight, bias_at_zero=bias_at_zero, mean_direction=None)
    coupling = np.linalg.norm((left * sigma).T @ toward_mean) / total_size**2
    if coupling > rounding:
        what = "class counts" if one_hot else "class masses"
        raise NoClosedForm(f"needs balanced classes for a penalised bias; got {what} {_shown(targets @ masses)}")
    flat = np.allclose(sigma, mean_size, rtol=max(rounding, DEGENERATE), atol=0)
    convex = problem.depth == 1 and min(problem.widths) >= len(sigma) + 1
    if not (flat or convex):
        # Proved: M = 1 with enough width is convex, and for equal singular values a critical product mixes the mean with one contrast at
        # most, where the decoupled one is never worse. Otherwise it is neither proved nor known to fail.
        raise NoClosedForm(
            "needs equal nonzero singular values of the mass-weighted targets (one-hot, balanced), or M = 1 with widths >= their rank, "
            f"for a penalised bias; got singular values {_shown([mean_size, *sigma])}, widths {problem.widths}"
        )
    om = lambda_b / (1 + lambda_b)
    left = np.column_stack([left, toward_mean / mean_size])
    right = np.column_stack([right, unit])
    sigma, weight = np.append(sigma, mean_size), np.append(weight, om)
    order = np.argsort(-(sigma**2) * weight ** ((problem.depth + 1) / problem.depth), kind="stable")
    return _Target(
        left=left[:, order],
        sigma=sigma[order],
        right=right[:, order],
        loss_weight=weight[order],
        bias_at_zero=bias_at_zero,
        mean_direction=int(np.flatnonzero(order == len(order) - 1)[0]),
    )


def _svd(matrix: np.ndarray, *, scale: float | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Singular triples of nonzero value; `scale` is the norm before a projection, whose rounding decides what zero is."""
    left, sigma, right = np.linalg.svd(matrix, full_matrices=False)
    scale = sigma[0] if scale is None else scale
    keep = sigma > max(matrix.shape) * np.finfo(np.float64).eps * scale
    return left[:, keep], sigma[keep], right[keep].T


def _cut(mu: np.ndarray, weight: np.ndarray, *, wanted: np.ndarray, R: int) -> tuple[int, int, int] | None:
    """The degenerate block that the rank limit cuts, and how many of its directions may be used."""
    if wanted.sum() <= R:
        return None
    same = np.isclose(mu, mu[R], rtol=DEGENERATE, atol=0) & (weight == weight[R])
    if not same[R - 1]:
        return None
    start, stop = (int(i) for i in np.flatnonzero(same)[[0, -1]])
    return start, stop + 1, R - start


def _sizes(spectrum: Spectrum, targets: np.ndarray) -> dict[str, float]:
    """The size of each quantity where the target is reached fully."""
    if len(spectrum.mu) == 0:
        return {}
    full = spectrum.quantities(np.ones(len(spectrum.mu)))
    factors = full["factor_singular_values"]
    sizes = {name: float(np.linalg.norm(full[name])) for name in ("singular_values", "class_gram", "classifier_gram")}
    sizes["logits"] = float(np.linalg.norm(targets))
    sizes |= {f"Gram spectrum {i}": float(np.linalg.norm(values**2)) for i, values in enumerate(factors)}
    sizes["features"] = float(np.linalg.norm(factors[-1]))
    # λ times the Gram of a factor is the same for every factor
    sizes["balance"] = float(spectrum.decays[-1] * np.linalg.norm(factors[-1] ** 2))
    if spectrum.bias_at_zero is not None:
        sizes["bias"] = float(np.linalg.norm(spectrum.bias_at_zero))
    return sizes


def _balanced(masses: np.ndarray) -> bool:
    return bool(np.allclose(masses, masses[0], rtol=1e-12, atol=0))


def _regime(bias: str | None, spectrum: Spectrum, *, one_hot: bool) -> str:
    active = int(spectrum.active.sum())
    if active == 0:
        return "trivial"
    wanted = spectrum.points.fraction > 0
    in_frame = np.ones(len(wanted), bool)
    if not one_hot:
        frame = "shrunk singular vectors of the targets"
    elif not _balanced(spectrum.masses):
        frame = "general orthogonal frame" if bias is None else "shrunk singular vectors of the centred labels"
    elif bias is None:
        frame = "orthogonal frame"
    elif spectrum.mean_direction is None or not spectrum.active[spectrum.mean_direction]:
        frame = "simplex ETF"
        if spectrum.mean_direction is not None:
            in_frame[spectrum.mean_direction] = False
    else:
        frame = "between simplex ETF and orthogonal frame"
    left_out, collapsed = int((wanted & in_frame).sum()) - active, int((~wanted & in_frame).sum())
    if left_out > 0:
        frame = f"low rank: the best {active} directions of: {frame}"
    return f"{frame}, {collapsed} of {in_frame.sum()} directions collapsed" if collapsed else frame


def _source(bias: str | None, spectrum: Spectrum, *, one_hot: bool) -> str:
    balanced = _balanced(spectrum.masses)
    if not one_hot:
        return f"{_DERIVED} {_DEEP}"
    if bias == "penalised":
        return f"{_ZHOU}" if spectrum.depth == 1 else f"{_DERIVED} {_ZHOU}, to M layers"
    if balanced:
        return f"{_DEEP}, squared error, balanced classes, {'bias-free' if bias is None else 'last-layer bias'}"
    return f"{_DEEP}, squared error, imbalanced classes, bias-free" if bias is None else _LIU


def _hypotheses(problem: Problem, spectrum: Spectrum, *, one_hot: bool, lambda_b: float | None) -> tuple[str, ...]:
    M, K = spectrum.depth, problem.labels.num_classes
    if one_hot:
        kind = "balanced" if _balanced(spectrum.masses) else "imbalanced"
        labels = f"one-hot labels, {kind}, class counts {_shown(spectrum.masses)}"
    else:
        labels = f"{len(spectrum.masses)} distinct soft targets of {K} classes"
    bias = {None: "no bias", "free": "bias not penalised"}.get(problem.bias, f"bias penalised by λ_b = {lambda_b:g}" if lambda_b else "")
    return ("squared error", labels, f"M = {M}", f"R = min(widths) = {spectrum.rank_limit}", bias, "all λ > 0")


def _shown(values) -> str:
    """A few numbers, for a message."""
    values = np.asarray(values)
    shown = ", ".join(f"{v:g}" for v in values[:8])
    return f"[{shown}{', …' if len(values) > 8 else ''}]"
