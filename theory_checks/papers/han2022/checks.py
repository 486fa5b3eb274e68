"""The renormalised flow of squared error."""

from __future__ import annotations

import jax
import numpy as np

import ufm
from theory_checks.engine.registry import Case, Setting, check, one_hot_problem
from theory_checks.engine.trajectories import features, flow, path_claim, ratio_claim, record


def _case(
    name: str, setting=Setting.INSIDE, *, counts, d, until, seed=0, path="renormalised", full=False
) -> Case:
    parameters = {
        "class_counts": counts,
        "widths": (d,),
        "lambda_W": 0.0,
        "lambda_H": 0.0,
        "bias": "free",
    }
    return Case(
        name,
        setting,
        parameters,
        build=one_hot_problem,
        options={"until": until, "path": path},
        seed=seed,
        full=full,
    )


def regime(case: Case) -> Setting:
    """Equal class counts, Σ_W of full rank (N >= d + C), d >= C − 1, a free bias, no decay, the
    renormalised flow."""
    problem = case.problem
    counts, d = np.asarray(problem.labels.class_counts), problem.feature_dim
    C, N = len(counts), counts.sum()
    return Setting.all_of(
        bool(np.ptp(counts) == 0),
        bool(d + C <= N),
        d >= C - 1,
        problem.bias == "free",
        case.options["path"] == "renormalised",
    )


@check(
    key="han2022/renormalised-flow",
    formula=r"n\left[C^2\ln\omega_j + C\omega_j^2 + \tfrac14\omega_j^4\right] = t + a_j,\quad L = "
    r"\tfrac12\sum_j\frac{1}{C + \omega_j^2}",
    source="Han, Papyan & Donoho 2022, closed form of the renormalised gradient flow; constants "
    "derived",
    regime=regime,
    cases=(
        _case("C=4, n=6, d=5", counts=(6,) * 4, d=5, until=1e5),
        _case("C=3, n=10, d=2", counts=(10,) * 3, d=2, until=1000.0, seed=1, full=True),
        _case("C=5, n=4, d=8", counts=(4,) * 5, d=8, until=300.0, seed=2, full=True),
        _case("unequal counts", Setting.OUTSIDE, counts=(10, 6, 4, 4), d=5, until=1000.0),
    ),
)
def renormalised_flow(case: Case):
    """Renormalised features keep Σ_W = I; the singular values of their means follow one law and end
    equal; the vectors stand still."""
    problem = case.problem
    C = problem.labels.num_classes
    n = float(problem.labels.num_samples) / C
    ts = np.concatenate(
        [[0.0], np.geomspace(case.options["until"] / 1e3, case.options["until"], 20)]
    )
    start = ufm.solvers.random_start(problem, key=case.key, std=1.0)
    trajectory = flow(case, ts=ts, start=start, observables={"H": features}, path="renormalised")
    X = np.asarray(trajectory.observables["H"])
    means = np.stack(
        [np.asarray(ufm.labels.collapse(problem.labels, jax.numpy.asarray(x))) for x in X]
    )
    deviations = X - means[:, :, np.asarray(problem.labels.class_index)]
    spread = deviations @ deviations.swapaxes(1, 2) / X.shape[2]
    signal = means - means.mean(axis=2, keepdims=True)
    omega = np.linalg.svd(signal, compute_uv=False)[:, : C - 1]
    law = ufm.laws.renormalised_spectrum(omega[0], ts, samples_per_class=n)
    left, _, right = np.linalg.svd(signal[0], full_matrices=False)
    yield path_claim("Σ_W = I", spread, np.broadcast_to(np.eye(problem.feature_dim), spread.shape))
    yield ratio_claim("singular values of the signal-to-noise matrix", omega, law)
    yield path_claim(
        "singular vectors stand still",
        signal,
        np.einsum("dj,tj,jc->tdc", left[:, : C - 1], law, right[: C - 1]),
    )
    yield ratio_claim("loss", trajectory.value, 0.5 * np.sum(1 / (C + law**2), axis=1))
    yield record(
        "signal-to-noise",
        ts,
        **{f"omega_{j}": omega[:, j] for j in range(C - 1)},
        **{f"law_{j}": law[:, j] for j in range(C - 1)},
    )
