r"""The target of squared error, once the best bias is put in, as singular triples, and its loads.

With $\tilde Y = Q\,\mathrm{diag}(\sqrt m)$: a free bias centres it; a penalised one gives its mean
direction the weight $\lambda_b/(1+\lambda_b)$.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ufm.optima.facts import Facts
from ufm.optima.hypotheses import Hypothesis
from ufm.optima.optimum import DEGENERATE
from ufm.optima.words import shown


@dataclass(frozen=True, kw_only=True, eq=False)
class Target:
    """What the product has to reach once the best bias is put in.

    Singular triples, loss weights, and that bias.
    """

    left: np.ndarray
    sigma: np.ndarray
    right: np.ndarray
    loss_weight: np.ndarray
    bias_at_zero: np.ndarray | None
    mean_direction: int | None


def loads_of(facts: Facts) -> np.ndarray:
    """The loads t_j (J,) of the directions, by increasing load."""
    target, M = facts.once(target_of), facts.M
    log_b = (
        np.log(M) + (np.log(facts.distinct.masses.sum()) * (M + 1) + np.log(facts.decays).sum()) / M
    )
    return np.exp(log_b - np.log(target.sigma**2) - (M + 1) / M * np.log(target.loss_weight))


def target_of(facts: Facts) -> Target:
    """The mass-weighted target with the bias eliminated, as singular triples by increasing load."""
    if facts.bias == "penalised":
        target = facts.once(penalised_target)[1]
        assert target is not None
        return target
    columns, root = facts.distinct, np.sqrt(facts.distinct.masses)
    weighted = columns.targets * root
    if facts.bias is None:
        left, sigma, right = _svd(weighted, scale=None)
        mean = None
    else:
        mean = columns.targets @ columns.masses / columns.masses.sum()
        scale = float(np.linalg.norm(weighted, 2))
        left, sigma, right = _svd((columns.targets - mean[:, None]) * root, scale=scale)
    ones = np.ones(len(sigma))
    return Target(
        left=left,
        sigma=sigma,
        right=right,
        loss_weight=ones,
        bias_at_zero=mean,
        mean_direction=None,
    )


def penalised_target(facts: Facts) -> tuple[list[Hypothesis], Target | None]:
    """Whether a penalised bias leaves the directions of the target decoupled, and the target where
    it does."""
    columns, lambda_b = facts.distinct, facts.lambda_b
    assert lambda_b is not None
    targets, masses, root = columns.targets, columns.masses, np.sqrt(columns.masses)
    weighted = targets * root
    mean = targets @ masses / masses.sum()
    unit = root / np.linalg.norm(root)
    toward_mean = weighted @ unit
    mean_size, total_size = float(np.linalg.norm(toward_mean)), float(np.linalg.norm(weighted, 2))
    left, sigma, right = _svd((targets - mean[:, None]) * root, scale=total_size)
    weight, bias_at_zero = np.ones(len(sigma)), mean / (1 + lambda_b)
    rounding = 64 * facts.eps * np.sqrt(max(weighted.shape))
    if mean_size <= rounding * total_size:
        alone = {"loss_weight": weight, "bias_at_zero": bias_at_zero, "mean_direction": None}
        return [], Target(left=left, sigma=sigma, right=right, **alone)
    coupling = np.linalg.norm((left * sigma).T @ toward_mean) / total_size**2
    what = "class counts" if facts.one_hot else "class masses"
    got = f"{what} {shown(targets @ masses)}"
    decoupled = Hypothesis(
        "balance", bool(coupling <= rounding), "balanced classes for a penalised bias", got
    )
    if not decoupled.holds:
        return [decoupled], None
    flat = np.allclose(sigma, mean_size, rtol=max(rounding, DEGENERATE), atol=0)
    convex = facts.M == 1 and min(facts.widths) >= len(sigma) + 1
    # Proved: M = 1 with enough width is convex, and for equal singular values a critical product
    # mixes the mean with one contrast at most, where the decoupled one is never worse. Otherwise it
    # is neither proved nor known to fail.
    words = (
        "equal nonzero singular values of the mass-weighted targets (one-hot, balanced), or M = "
        "1 with widths >= their rank, "
        "for a penalised bias"
    )
    got = f"singular values {shown([mean_size, *sigma])}, widths {facts.widths}"
    proved = Hypothesis("proved", flat or convex, words, got)
    if not proved.holds:
        return [decoupled, proved], None
    om = lambda_b / (1 + lambda_b)
    left = np.column_stack([left, toward_mean / mean_size])
    right = np.column_stack([right, unit])
    sigma, weight = np.append(sigma, mean_size), np.append(weight, om)
    order = np.argsort(-(sigma**2) * weight ** ((facts.M + 1) / facts.M), kind="stable")
    return [decoupled, proved], Target(
        left=left[:, order],
        sigma=sigma[order],
        right=right[:, order],
        loss_weight=weight[order],
        bias_at_zero=bias_at_zero,
        mean_direction=int(np.flatnonzero(order == len(order) - 1)[0]),
    )


def _svd(matrix: np.ndarray, *, scale: float | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Singular triples of nonzero value.

    `scale` is the norm before a projection, whose rounding decides what zero is.
    """
    left, sigma, right = np.linalg.svd(matrix, full_matrices=False)
    scale = sigma[0] if scale is None else scale
    keep = sigma > max(matrix.shape) * np.finfo(np.float64).eps * scale
    return left[:, keep], sigma[keep], right[keep].T
