r"""Squared error, complete: any depth, masses, rank bottleneck and decays.

No bias, a free one, or a penalised one that decouples.

With $\tilde Y = Q\,\mathrm{diag}(\sqrt m)$ and $X = W_M\cdots W_1 H\,\mathrm{diag}(\sqrt m)$ the
decay is, at best, $\frac{M+1}{2}\Lambda\sum_j s_j(X)^{2/(M+1)}$ with $\Lambda$ the geometric mean
of all M + 1 decays, so by von Neumann's trace inequality X shares the singular vectors of its
target and every direction is one scalar problem. A free bias centres the target; a penalised one
gives its mean direction the weight $\lambda_b/(1+\lambda_b)$.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from ufm.optima.facts import Facts
from ufm.optima.form import AbstractForm
from ufm.optima.hypotheses import Hypothesis, loss_named, plain_decay, unconstrained
from ufm.optima.optimum import DEGENERATE, Optimum, Spectrum
from ufm.optima.scalar import collapse_load, existence_load, solve_scalar
from ufm.optima.squared_error_target import loads_of, penalised_target, target_of
from ufm.optima.words import shown

_DEEP = "Dang, Tran, Osher, Tran-The, Ho & Nguyen 2023 (arXiv 2301.00437)"
_ZHOU = "Zhou et al. 2022, squared-error landscape, global optimality with a penalised bias"
_LIU = (
    "Liu 2024 (arXiv 2411.17278), extended unconstrained features model with a bias, imbalanced "
    "squared error"
)
_DERIVED = "derived here from the Schatten form of the decay, as in"


class SquaredError(AbstractForm):
    r"""Direction by direction of the target.

    Proved for one-hot labels with no bias or, balanced, a free one (Dang et al. 2023), a penalised
    bias (Zhou et al. 2022) and a free bias with unequal counts (Liu 2024); other targets by the
    same argument. Not for a penalised bias with unequal classes.
    """

    name: ClassVar[str] = "squared error, direction by direction"
    source: ClassVar[str] = f"{_DEEP}; {_ZHOU}; {_LIU}"

    def accepts(self, facts: Facts) -> Iterator[Hypothesis]:
        """Squared error, and a bias that does not couple the directions."""
        asked = [loss_named(facts, "squared-error"), unconstrained(facts), *plain_decay(facts)]
        if facts.bias == "penalised" and asked[0].holds:
            asked += facts.once(penalised_target)[0]
        yield from asked
        if all(hypothesis.holds for hypothesis in asked):
            # (targets of zero have no direction, and no load)
            least = float(np.min(facts.once(loads_of), initial=np.inf))
            tiny = float(np.finfo(np.float64).tiny)
            words = f"loads N² λ_W λ_H / μ (of M = 1) that float64 resolves, >= {tiny:.1e}"
            yield Hypothesis("decay", least >= tiny, words, f"{least:.1e}", 3)

    def optimum(self, facts: Facts) -> Optimum:
        """The module's formula."""
        return squared_error_optimum(facts)

    def source_of(self, facts: Facts) -> str:
        """Who proved it for these labels, this bias and this depth."""
        bias = facts.bias
        if not facts.one_hot:
            return f"{_DERIVED} {_DEEP}"
        if bias == "penalised":
            return _ZHOU if facts.M == 1 else f"{_DERIVED} {_ZHOU}, to M layers"
        if _balanced(facts.distinct.masses):
            kind = "bias-free" if bias is None else "last-layer bias"
            return f"{_DEEP}, squared error, balanced classes, {kind}"
        return f"{_DEEP}, squared error, imbalanced classes, bias-free" if bias is None else _LIU


def squared_error_optimum(facts: Facts) -> Optimum:
    r"""The optimum of facts that meet the hypotheses.

    With N the total mass, R the smallest width, $\mu_j$ the squared singular values of the
    (centred) target, $w_j$ its loss weights: loads $t_j = M
    (N^{M+1}\lambda_1\cdots\lambda_M\lambda_H)^{1/M} / (\mu_j w_j^{(M+1)/M})$, fractions $f_j$ from
    the scalar problem, 0 beyond the R best directions, $X = \sum_j f_j\sqrt{\mu_j}\,u_j v_j^\top$
    and value $\frac{1}{2N}\sum_j w_j\mu_j\varphi_j$.
    """
    target, loads = facts.once(target_of), facts.once(loads_of)
    masses, M, R = facts.distinct.masses, facts.M, min(facts.widths)
    mu, weight = target.sigma**2, target.loss_weight
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
        decays=facts.decays,
        bias_at_zero=target.bias_at_zero,
        mean_direction=target.mean_direction,
    )
    # at a stationary point φ = (1 − f)(1 + M f); written with 1 − f it keeps its digits as λ → 0
    value = float(np.dot(weight * mu, shortfall * (1 + M * fractions)) / (2 * masses.sum()))
    return Optimum(
        value=value,
        regime=_regime(facts.bias, spectrum, one_hot=facts.one_hot),
        source=FORM.source_of(facts),
        hypotheses=_hypotheses(facts, spectrum),
        unique=bool(spectrum.cut is None and not points.boundary[:R].any()),
        column_index=facts.distinct.index,
        masses=masses,
        sizes=_sizes(spectrum, facts.distinct.targets),
        spectrum=spectrum,
        **spectrum.quantities(fractions),
    )


def _cut(
    mu: np.ndarray, weight: np.ndarray, *, wanted: np.ndarray, R: int
) -> tuple[int, int, int] | None:
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
    sizes = {
        name: float(np.linalg.norm(full[name]))
        for name in ("singular_values", "class_gram", "classifier_gram")
    }
    sizes["logits"] = float(np.linalg.norm(targets))
    sizes |= {
        f"Gram spectrum {i}": float(np.linalg.norm(values**2)) for i, values in enumerate(factors)
    }
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
        frame = (
            "general orthogonal frame"
            if bias is None
            else "shrunk singular vectors of the centred labels"
        )
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


def _hypotheses(facts: Facts, spectrum: Spectrum) -> tuple[str, ...]:
    if facts.one_hot:
        kind = "balanced" if _balanced(spectrum.masses) else "imbalanced"
        labels = f"one-hot labels, {kind}, class counts {shown(spectrum.masses)}"
    else:
        labels = f"{len(spectrum.masses)} distinct soft targets of {facts.K} classes"
    room = f"R = min(widths) = {spectrum.rank_limit}"
    return ("squared error", labels, f"M = {spectrum.depth}", room, facts.bias_words, "all λ > 0")


FORM = SquaredError()
