r"""Dang et al. 2023: the direct optimisation of their synthetic experiments, as their script runs
it, next to ours.

K = 4, n = 100 or counts 200/100/50/50, all widths 64, λ = 5e-4 on every factor, all parameters N(0,
0.1²), full-batch momentum 0.9 at step size 0.1, 30 000 steps. Late in the run only components that
the optimum does not use are left. They feel nothing but their own decay, so each obeys x ← (1 + β −
s λ) x − β x_before and the gap to the optimum falls as ρ^{2k}, ρ the largest root of ρ² − (1 + β −
s λ) ρ + β = 0. With a free bias the late rate is lower by up to 1e-4 of itself (a mean feature
costs less to keep where the bias makes up for it): shown there, not claimed.
"""

from __future__ import annotations

import jax
import numpy as np

import ufm
from theory_checks.engine.measure import GEOMETRY, Point, Setup, value_at
from theory_checks.engine.paths import stepwise
from theory_checks.engine.registry import Case, Claim, Record, Setting, check
from theory_checks.formulas.frames import contrast
from theory_checks.formulas.squared_error import branch

_STEP_SIZE, _MOMENTUM, _DECAY = 0.1, 0.9, 5e-4
_STEPS = np.array([0, 1_000, 5_000, 10_000, 15_000, 20_000, 25_000, 30_000])
# where the curves of the figures are taken
_CURVE = np.union1d(
    _STEPS, np.concatenate([[50, 100, 200, 350, 500, 700], np.arange(500, 30_000, 500)])
)
# loss gap to expect, order of magnitude: steps → gap
_EXPECTED = {1_000: 3e-2, 5_000: 5e-4, 10_000: 4e-6}
# The rate is read off between these steps: before, the gap itself (1e-6) disturbs it; after, the
# rounding of the loss (1e-17) does.
_FROM, _TO = 15_000, 25_000
_RATE = 2e-6


def protocol_regime(case: Case) -> Setting:
    """Their four classes, widths, decay, start and step size, balanced with or without a bias, or
    200/100/50/50 without."""
    s = Setup.of(case.problem)
    same = (
        s.N == 400
        and set(s.widths) == {64}
        and np.all(s.lambda_W == _DECAY)
        and s.lambda_H == _DECAY
    )
    return Setting.all_of(bool(same), s.balanced or s.bias is None)


def _case(counts, M: int, bias) -> Case:
    parameters = {
        "class_counts": counts,
        "widths": (64,) * M,
        "lambda_W": _DECAY,
        "lambda_H": _DECAY,
        "bias": bias,
    }
    name = f"M={M}, {'balanced' if counts[0] == counts[-1] else 'imbalanced'}, {bias or 'no'} bias"
    return Case(name, Setting.INSIDE, parameters, full=True)


BALANCED = tuple(_case((100,) * 4, M, None) for M in (1, 3, 6, 9))
WITH_BIAS = tuple(_case((100,) * 4, M, "free") for M in (1, 3, 6, 9))
IMBALANCED = tuple(_case((200, 100, 50, 50), M, None) for M in (1, 3, 6))
_WEAKER = {**BALANCED[0].parameters, "lambda_W": 4e-4, "lambda_H": 4e-4}
_OUTSIDE = Case("M=1, λ=4e-4", Setting.OUTSIDE, _WEAKER, full=True)


@check(
    key="dang2023/direct-optimisation",
    formula=r"L(k) - L^*\sim\rho^{2k},\quad \rho^2-(1+\beta-s\lambda)\rho+\beta=0,\quad "
    r"\beta=0.9,\ s=0.1,\ \lambda=5\cdot10^{-4}",
    source="Dang et al. 2023, direct optimisation experiments (hyper-parameters of their code)",
    regime=protocol_regime,
    cases=(*BALANCED, *WITH_BIAS, *IMBALANCED, _OUTSIDE),
)
def direct_optimisation(case: Case):
    """The paper's script needs 30 000 steps for what second order does in some tens, and both
    arrive at the closed form."""
    setup = Setup.of(case.problem)
    start = ufm.solvers.random_start(case.problem, key=case.key, std=0.1)
    recipe = ufm.solvers.Momentum(step_size=_STEP_SIZE, momentum=_MOMENTUM)
    script = ufm.solvers.descend(
        case.problem, recipe, steps=_CURVE, start=start, observables=_OBSERVABLES, progress=False
    )
    if script.result is ufm.Result.INTERRUPTED:
        raise KeyboardInterrupt
    optimum = float(ufm.closed_form(case.problem).value)
    gap = (np.asarray(script.value) - optimum)[np.isin(_CURVE, _STEPS)]
    yield Record(
        "loss gap of the script (momentum 0.9, step size 0.1)", {"step": _STEPS, "gap": gap}
    )
    ours, steps, evaluations, values = _newton_trajectory(case, start)
    yield Record(
        "loss gap of Newton from the same start",
        {"step": steps, "products": evaluations, "gap": np.maximum(values - optimum, 0)},
    )

    yield Point.of(ours).closed_form_claim()
    for step, expected in _EXPECTED.items():
        decades = abs(np.log10(gap[step == _STEPS][0] / expected))
        yield Claim(
            f"loss gap after {step} steps, decades beyond half a decade from {expected:.0e}",
            max(0.0, decades - 0.5),
            0.0,
            GEOMETRY,
        )
    if setup.bias is None:
        decades = np.log(gap[_STEPS == _TO][0] / gap[_STEPS == _FROM][0]) / (_TO - _FROM)
        root = max(np.roots([1, -(1 + _MOMENTUM - _STEP_SIZE * _DECAY), _MOMENTUM]).real)
        yield Claim(
            "rate of the loss gap", decades, 2 * np.log(root), _RATE, scale=-2 * np.log(root)
        )
    # 0.5 is the value at zero, what the gap starts from
    yield Claim("value after 30 000 steps", float(script.value[-1]), optimum, 1e-12, scale=0.5)
    last = Point(case.problem, script.final, float(script.value[-1]))
    predicted = branch(setup, clip=True)
    frame = np.diag if setup.bias is None else lambda values: values[0] * contrast(setup.K)
    yield last.weight_gram_claim(frame(predicted.p2))
    yield last.logits_claim(frame(predicted.fraction) + (0 if setup.bias is None else 1 / setup.K))
    squares = predicted.p2 / (predicted.p2 + setup.N * setup.lambda_H) ** 2
    yield _curves(
        script,
        {"NC2 W": frame(predicted.p2), "NC2 H": frame(squares), "NC3": frame(predicted.fraction)},
    )


def _class_grams(problem, params):
    """W Wᵀ, H̄ᵀ H̄ and W H̄ (3, K, K)."""
    means = ufm.metrics.class_means(params.features, problem.labels)
    return jax.numpy.stack(
        [params.classifier @ params.classifier.T, means.T @ means, params.classifier @ means]
    )


_OBSERVABLES = {"grams": _class_grams, "nc1": ufm.observables.nc1_pinv}


def _curves(script: ufm.Trajectory, targets: dict[str, np.ndarray]) -> Record:
    """NC1 and the distances of the normalised Grams (NC2) and of W H̄ (NC3) to the closed form,
    which for equal counts is a frame."""
    columns = {"step": _CURVE, "NC1": np.asarray(script.observables["nc1"])}
    grams = np.moveaxis(np.asarray(script.observables["grams"]), 1, 0)
    for (name, target), matrices in zip(targets.items(), grams, strict=True):
        unit = matrices / np.linalg.norm(matrices, axis=(1, 2), keepdims=True)
        columns[name] = np.linalg.norm(unit - target / np.linalg.norm(target), axis=(1, 2))
    return Record("neural collapse along the script", columns)


def _newton_trajectory(case: Case, start: ufm.Params):
    """Newton one step at a time from `start`: last solution, steps, products with the Hessian,
    values."""
    solution, path = stepwise(case.problem, start, ufm.solvers.Newton(max_steps=1))
    values = np.array([value_at(case.problem, point) for point in path.points])
    # a line a step fills the screen: about eight of them, the last included
    shown = np.unique(np.linspace(0, len(values) - 1, 8).round().astype(int))
    return solution, path.steps[shown], path.products[shown], values[shown]
