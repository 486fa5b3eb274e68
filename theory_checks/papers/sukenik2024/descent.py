"""Gradient descent as in the paper's figures: where ten runs end."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import ufm
from theory_checks.engine.claims import Claim, Record
from theory_checks.engine.measure import VALUE
from theory_checks.engine.registry import Case, NotConverged, Setting, check
from theory_checks.engine.trajectories import params
from theory_checks.formulas.rectified import value

_INSIDE, _OUTSIDE = Setting.INSIDE, Setting.OUTSIDE
# (of the captions)
_DECAY, _STEP, _RUNS = 0.004, 0.5, 10
# a run is below collapse, or at it, by this share of its value: descents end within a thousandth of
# where they go, and what is below is so by 3 to 11 %
_CLEARLY = 0.01
# singular values below this share of the largest die out as descent goes on
_RANK = 0.05
# variability within classes over that between: descents with a fixed step go to and fro across
# kinks, and end at 1e-12 to 2e-7
_COLLAPSED = 1e-6
_POINTS = 41


def _case(K: int, width: int, setting=_INSIDE, *, n: int, steps: int, runs: int, full=False):
    parameters = {"K": K, "L": 4, "width": width, "n": n, "steps": steps, "runs": runs}
    return Case(f"K = {K}, width {width}, {runs} runs", setting, parameters, build=dict, full=full)


# made once: the figure asks for this very case
PICTURE = (_case(10, 30, n=5, steps=100_000, runs=_RUNS, full=True),)


def regime(case: Case) -> Setting:
    """K >= 3 classes behind four matrices with ReLU between them, all decays .004, step .5."""
    return Setting.all_of(case.parameters["K"] >= 3)


def _problem(K: int, L: int, width: int, n: int) -> ufm.Problem:
    return ufm.Problem(
        ufm.one_hot((n,) * K, collapsed=n == 1),
        loss=ufm.MeanSquaredError(),
        widths=(width,) * L,
        lambda_W=_DECAY,
        lambda_H=_DECAY,
        activation="relu",
    )


def _start(problem: ufm.Problem, seed: int) -> ufm.Params:
    """Weights uniform in ±1/√(columns), as PyTorch draws those of a layer; features normal."""
    rng = np.random.default_rng(seed)
    weights = [
        rng.uniform(-1, 1, shape) / np.sqrt(shape[1]) for shape in reversed(problem.weight_shapes)
    ]
    columns = problem.labels.num_columns
    return params(weights[::-1], rng.standard_normal((problem.feature_dim, columns)))


def _averages(targets: jax.Array) -> jax.Array:
    """(columns, K): what makes class means of columns."""
    return (targets / jnp.sum(targets, axis=1, keepdims=True)).T


def within_over_between(problem: ufm.Problem, point: ufm.Params) -> jax.Array:
    """Of what enters every factor: the trace of covariance within classes over that between."""
    assert isinstance(problem.map, ufm.maps.Activated)
    targets = problem.labels.targets
    ratios = []
    for H in problem.map.layers(point.weights, point.features):
        means = H @ _averages(targets)
        centred = means - jnp.mean(means, axis=1, keepdims=True)
        within = jnp.mean(jnp.sum((H - means @ targets) ** 2, axis=0))
        ratios.append(within / jnp.mean(jnp.sum(centred**2, axis=0)))
    return jnp.stack(ratios)


def singular_values(problem: ufm.Problem, point: ufm.Params) -> jax.Array:
    """Of class means that enter every ReLU, and of the logits, each over its largest."""
    assert isinstance(problem.map, ufm.maps.Activated)
    targets = problem.labels.targets
    layers = (*problem.map.preactivations(point.weights, point.features), problem.logits(point))
    means = [M @ _averages(targets) for M in layers]
    values = [jnp.linalg.svd(M, compute_uv=False)[: len(targets)] for M in means]
    return jnp.stack([s / s[0] for s in values])


_OBSERVABLES: dict[str, Any] = {"variability": within_over_between, "spectra": singular_values}


@check(
    key="sukenik2024/gradient-descent",
    formula=r"x \leftarrow x - \tfrac12\nabla F(x):\quad F_\infty < V_{\mathrm{DNC}}\ "
    r"\text{in most runs},\quad \mathrm{rank}\,M_4 < K",
    source="captions of the figures (step, decay, width, K, L); samples, starts and steps are ours",
    regime=regime,
    cases=(
        _case(10, 14, n=1, steps=40_000, runs=2),
        _case(2, 6, _OUTSIDE, n=1, steps=40_000, runs=2),
        *PICTURE,
    ),
)
def gradient_descent(case: Case):
    """Gradient descent from random starts ends below deep neural collapse in most runs and above it
    in none, with what enters the last ReLU of low rank, what leaves it of full rank, and features
    collapsed within classes.

    Which runs do so depends on width, step and start; the others end at collapse.
    """
    p = case.parameters
    problem = _problem(p["K"], p["L"], p["width"], p["n"])
    Lam = (p["n"] * _DECAY ** (p["L"] + 1)) ** (1 / (p["L"] + 1))
    collapsed = value(p["K"], Lam, p["L"])
    steps = np.unique(np.geomspace(10, p["steps"], _POINTS).astype(int))
    runs = [
        ufm.solvers.descend(
            problem,
            ufm.solvers.GradientDescent(_STEP),
            steps=steps,
            start=_start(problem, seed),
            observables=_OBSERVABLES,
            progress=False,
        )
        for seed in range(p["runs"])
    ]
    for run in runs:
        if run.result is ufm.Result.INTERRUPTED:
            raise KeyboardInterrupt
        if run.result is not ufm.Result.REACHED_END:
            raise NotConverged(str(run.result))
    ratios = np.stack([np.asarray(run.value) for run in runs]) / collapsed
    spectra = np.stack([np.asarray(run.observables["spectra"])[-1] for run in runs])
    variability = np.stack([np.asarray(run.observables["variability"]) for run in runs])
    below = ratios[:, -1] < 1 - _CLEARLY
    yield Claim("most runs end below collapse (1: yes)", float(np.mean(below) > 0.5), 1.0, VALUE)
    above = np.max(ratios[:, -1]) > 1 + _CLEARLY
    yield Claim("runs that end above collapse (0: none)", float(above), 0.0, VALUE)
    ranks = np.sum(spectra > _RANK, axis=2)
    lower = np.all(ranks[below, -2] < p["K"]) & np.all(ranks[below, -1] == p["K"])
    yield Claim("low rank before the last ReLU, full behind (1: yes)", float(lower), 1.0, VALUE)
    if p["n"] > 1:
        left = np.max(variability[:, -1])
        yield Claim(
            "variability within classes above 1e-6", max(left - _COLLAPSED, 0.0), 0.0, VALUE
        )
    # those that theory knows, for the figure
    best = next(s for s in ufm.laws.rectified_structures(p["K"], p["L"]) if s.realised)
    columns = {
        "step": steps.astype(float),
        "best structure": np.full(len(steps), value(best.complexity, Lam, p["L"]) / collapsed),
    }
    for i in range(p["runs"]):
        columns[f"value {i}"] = ratios[i]
        for layer in range(p["L"]):
            columns[f"variability {layer + 1}, {i}"] = variability[i, :, layer]
    yield Record("descents", columns)
    numbers = np.arange(1.0, p["K"] + 1)
    names = {f"run {i}": spectra[i, -2] for i in range(p["runs"])}
    yield Record("spectra before the last ReLU", {"number": numbers, **names})
