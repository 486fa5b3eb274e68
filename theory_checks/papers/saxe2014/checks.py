"""Modes of the flow: balanced, unbalanced, deep."""

from __future__ import annotations

import jax
import numpy as np

import ufm
from theory_checks.engine.registry import Case, Setting, check
from theory_checks.engine.trajectories import (
    flow,
    logits,
    orthonormal,
    params,
    path_claim,
    ratio_claim,
    record,
)

_INSIDE, _OUTSIDE = Setting.INSIDE, Setting.OUTSIDE


def mode_problem(class_counts=None, *, soft=None, widths, decay=0.0):
    """Squared error in their normalisation: full one-hot labels, or `soft` = (K, C, seed) random
    targets."""
    if soft is None:
        labels = ufm.one_hot(class_counts)
    else:
        K, C, seed = soft
        labels = ufm.soft(jax.random.normal(jax.random.key(seed), (K, C)))
    lam = decay / float(labels.num_samples)
    return ufm.Problem(
        labels, loss=ufm.MeanSquaredError(), widths=widths, lambda_W=lam, lambda_H=lam
    )


def _case(
    name: str,
    setting=_INSIDE,
    *,
    starts,
    counts=(9, 4, 1),
    soft=None,
    M=1,
    decay=0.0,
    gaps=None,
    until=6.0,
    seed=0,
    full=False,
) -> Case:
    """`starts` are u_k(0); `gaps` are a_k² − b_k² of the two factors of a mode, zero for balanced
    ones; `until` is the last time."""
    parameters = {"widths": (5, 6, 4)[:M], "decay": decay} | (
        {"class_counts": counts} if soft is None else {"soft": soft}
    )
    options = {
        "starts": starts,
        "gaps": (0.0,) * len(starts) if gaps is None else gaps,
        "until": until,
    }
    return Case(
        name, setting, parameters, build=mode_problem, options=options, seed=seed, full=full
    )


def _modes(problem) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.linalg.svd(np.asarray(problem.labels.targets), full_matrices=False)


def _start(case: Case) -> ufm.Params:
    """Factors that share the singular vectors of the labels, with random orthonormal frames in
    between."""
    left, _, right = _modes(case.problem)
    starts, gaps = np.asarray(case.options["starts"]), np.asarray(case.options["gaps"])
    widths, K = case.problem.widths, len(starts)
    keys = jax.random.split(case.key, len(widths))
    frames = [
        left,
        *(orthonormal(d, K, key) for d, key in zip(reversed(widths), keys, strict=True)),
    ]
    size = starts ** (1 / (len(widths) + 1))
    sizes = [size] * (len(widths) + 1)
    if np.any(gaps):
        # the outermost factor a and the features b: a² − b² = gap at the same product
        a = np.sqrt((np.sqrt(4 * size**4 + gaps**2) + gaps) / 2)
        sizes = [a, *sizes[1:-1], size**2 / a]
    weights = [
        outer * v @ inner.T
        for outer, inner, v in zip(frames[:-1], frames[1:], sizes[:-1], strict=True)
    ]
    return params(weights, (frames[-1] * sizes[-1]) @ right)


def _claims(case: Case, law):
    """All modes at all times against `law(ts, target, start, gap)`, and nothing outside the
    modes."""
    problem = case.problem
    left, targets, right = _modes(problem)
    sum_ts = np.linspace(0, case.options["until"], 41)
    N = float(problem.labels.num_samples)
    ts = ufm.laws.library_time(sum_ts, num_samples=N)
    trajectory = flow(case, ts=ts, start=_start(case), observables={"logits": logits})
    Z = np.asarray(trajectory.observables["logits"])
    measured = np.einsum("ka,tkc,ac->ta", left, Z, right)
    predicted = np.stack(
        [
            law(sum_ts, s, u, gap)
            for s, u, gap in zip(targets, case.options["starts"], case.options["gaps"], strict=True)
        ],
        axis=1,
    )
    yield ratio_claim("modes, relative at every time", measured, predicted)
    yield path_claim("logits", Z, np.einsum("ka,ta,ac->tkc", left, predicted, right))
    columns = {f"u_{k}": measured[:, k] for k in range(len(targets))} | {
        f"law_{k}": predicted[:, k] for k in range(len(targets))
    }
    yield record("modes", sum_ts, **columns)


def balanced_regime(case: Case) -> Setting:
    """One layer, squared error, balanced factors that share the singular vectors of the labels;
    equal decay."""
    return Setting.all_of(case.problem.depth == 1, not np.any(case.options["gaps"]))


@check(
    key="saxe2014/balanced-modes",
    formula=r"u(t) = \frac{a}{1 + (a/u_0 - 1)e^{-2at}},\quad a = s - \lambda",
    source="Saxe et al. 2014, balanced modes; with decay derived",
    regime=balanced_regime,
    cases=(
        _case("counts (9, 4, 1), from 0.001, 0.5 and 2", starts=(1e-3, 0.5, 2.0)),
        _case(
            "counts (16, 16, 4, 4), degenerate modes",
            counts=(16, 16, 4, 4),
            starts=(1e-2, 1e-3, 1e-2, 1e-4),
            until=4.0,
            seed=1,
            full=True,
        ),
        _case("soft random targets", soft=(3, 7, 0), starts=(1e-2, 1e-2, 1e-2), until=3.0, seed=2),
        _case("decay 0.5", decay=0.5, starts=(1e-3, 0.5, 2.0), seed=3),
        _case(
            "decay 1, at the threshold of the smallest class",
            decay=1.0,
            starts=(1e-2, 0.5, 2.0),
            seed=4,
        ),
        _case("decay 1.5, the smallest class dies", decay=1.5, starts=(1e-2, 0.5, 2.0), seed=5),
        _case("unbalanced by 0.1", _OUTSIDE, starts=(1e-2, 0.5, 2.0), gaps=(0.1, 0.1, 0.1)),
        _case("two layers", _OUTSIDE, starts=(1e-2, 0.5, 2.0), M=2, full=True),
    ),
)
def balanced_modes(case: Case):
    """Each mode of the labels is learnt along a logistic curve of its own, in time 1/s."""
    decay = case.parameters["decay"]
    yield from _claims(
        case, lambda ts, s, u, gap: ufm.laws.saxe_mode(ts, target=s, start=u, decay=decay)
    )


def unbalanced_regime(case: Case) -> Setting:
    """One layer, squared error, factors that share the singular vectors of the labels, any
    imbalance, no decay."""
    return Setting.all_of(case.problem.depth == 1, case.parameters["decay"] == 0)


@check(
    key="saxe2014/unbalanced-modes",
    formula=r"\dot u = (s-u)\sqrt{4u^2+k^2},\quad k = a^2 - b^2",
    source="Saxe et al. 2014, unequal initial conditions; explicit form derived",
    regime=unbalanced_regime,
    cases=(
        _case("k = 0.1, -0.5, 3", starts=(1e-3, 0.5, 2.0), gaps=(0.1, -0.5, 3.0)),
        _case("k = 1e-6 to 1e-2", starts=(1e-3, 1e-3, 1e-3), gaps=(1e-6, 1e-4, 1e-2), seed=1),
        _case(
            "soft random targets",
            soft=(3, 7, 1),
            starts=(1e-2, 0.1, 5.0),
            gaps=(1.0, 2.0, -3.0),
            until=3.0,
            seed=2,
        ),
        _case("k = 0", starts=(1e-2, 0.5, 2.0), seed=3),
        _case("decay 0.1", _OUTSIDE, starts=(1e-2, 0.5, 2.0), gaps=(0.1, -0.5, 3.0), decay=0.1),
    ),
)
def unbalanced_modes(case: Case):
    """A mode with unequal factors follows its own law, faster than the balanced one, with a² − b²
    conserved."""
    yield from _claims(
        case,
        lambda ts, s, u, gap: ufm.laws.saxe_mode_unbalanced(ts, target=s, start=u, imbalance=gap),
    )


def deep_regime(case: Case) -> Setting:
    """M layers, squared error, balanced factors that share the singular vectors of the labels;
    equal decay."""
    return Setting.all_of(not np.any(case.options["gaps"]))


@check(
    key="saxe2014/deep-modes",
    formula=r"\dot u = (M+1)\,[u^{2M/(M+1)}(s-u) - \lambda u]",
    source="Saxe et al. 2014, deep linear networks; the law with the features as a factor and with "
    "decay derived",
    regime=deep_regime,
    cases=(
        _case("M=1", starts=(1e-3, 0.5, 2.0)),
        _case("M=2", starts=(1e-2, 0.5, 2.0), M=2, until=15.0, seed=1),
        _case("M=3", starts=(0.05, 0.5, 2.0), M=3, until=15.0, seed=2),
        _case(
            "M=2, soft random targets",
            soft=(3, 7, 2),
            starts=(0.1, 0.1, 4.0),
            M=2,
            until=5.0,
            seed=3,
            full=True,
        ),
        _case("M=2, decay 0.2", starts=(0.1, 0.5, 2.0), M=2, decay=0.2, until=10.0, seed=4),
        _case(
            "M=3, decay 0.3, a small mode dies where a large one survives",
            starts=(0.004, 3.0, 0.5),
            M=3,
            decay=0.3,
            until=10.0,
            seed=5,
        ),
        _case("M=2, decay 2, all die", starts=(0.5, 0.5, 2.0), M=2, decay=2.0, until=3.0, seed=6),
        _case(
            "M=2, unbalanced",
            _OUTSIDE,
            starts=(0.1, 0.5, 2.0),
            M=2,
            gaps=(0.2, 0.2, 0.2),
            until=10.0,
        ),
    ),
)
def deep_modes(case: Case):
    """Depth turns the logistic curves into steps: long plateaus, then fast learning; with decay a
    small enough mode dies."""
    M, decay = case.problem.depth, case.parameters["decay"]
    yield from _claims(
        case, lambda ts, s, u, gap: ufm.laws.deep_mode(ts, target=s, start=u, depth=M, decay=decay)
    )
