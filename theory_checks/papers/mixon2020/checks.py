"""Squared error without decay: the laws of a flow from a small start."""

from __future__ import annotations

import jax
import numpy as np

import ufm
from theory_checks.engine.registry import Case, Setting, check, one_hot_problem
from theory_checks.engine.trajectories import (
    band_claim,
    classifier,
    features,
    flow,
    params,
    path_claim,
    ratio_claim,
    record,
)

_INSIDE, _OUTSIDE = Setting.INSIDE, Setting.OUTSIDE
_OBSERVABLES = {"W": classifier, "H": features}
# starts this small miss the linear law by 1e-5² times an amplification of a few hundred at most
_SMALL = 1e-5
# how far an order of convergence fitted over decades may be from its limit
_ORDER = 0.02


def _case(
    name: str,
    setting=_INSIDE,
    *,
    K=3,
    n=5,
    d=4,
    bias: str | None = "free",
    counts=None,
    seed=0,
    full=False,
    **options,
) -> Case:
    counts = (n,) * K if counts is None else counts
    parameters = {
        "class_counts": counts,
        "widths": (d,),
        "lambda_W": 0.0,
        "lambda_H": 0.0,
        "bias": bias,
    }
    return Case(
        name, setting, parameters, build=one_hot_problem, options=options, seed=seed, full=full
    )


def _sizes(problem) -> tuple[int, float, float]:
    """K, n and N."""
    counts = np.asarray(problem.labels.class_counts)
    return len(counts), float(counts.mean()), float(counts.sum())


def _bias(problem):
    K = problem.labels.num_classes
    return np.full(K, 1 / K) if problem.has_bias else None


def _no_decay(case: Case) -> bool:
    return not np.any([*np.asarray(case.problem.lambda_W), case.problem.lambda_H])


def small_regime(case: Case) -> Setting:
    """Equal class counts, bias free and at 1/K, no decay, a start small against the growth e^{√n t}
    of the time observed."""
    counts = np.asarray(case.problem.labels.class_counts)
    return Setting.all_of(
        bool(np.ptp(counts) == 0),
        case.problem.bias == "free",
        _no_decay(case),
        case.options["size"] <= _SMALL,
    )


@check(
    key="mixon2020/small-start",
    formula=r"PW \pm \sqrt n\,P\bar H^\top \propto e^{\pm\sqrt n t};"
    r"\quad \mathbf 1^\top W,\ \text{mean and within-class part of } H \text{ constant}",
    source="Mixon et al. 2020, the linearised dynamics near the origin, by content",
    regime=small_regime,
    cases=(
        _case("K=3, n=5", size=_SMALL),
        _case("K=4, n=10, d=3", K=4, n=10, d=3, size=_SMALL, seed=1, full=True),
        _case("K=2, n=3, d=6", K=2, n=3, d=6, size=_SMALL, seed=2, full=True),
        _case("a start of size 0.1", _OUTSIDE, size=0.1),
        _case("no bias", _OUTSIDE, bias=None, size=_SMALL, full=True),
        _case("unequal counts", _OUTSIDE, counts=(9, 4, 2), size=_SMALL),
    ),
)
def small_start(case: Case):
    """From a small start W and the class means align before anything saturates; what the labels do
    not push stands still.

    The error of the law is quadratic in the size of the start: two more starts, 100 and 1000 times
    as large, measure the order.
    """
    _, n, N = _sizes(case.problem)
    sum_ts = np.linspace(0, 2.0 / np.sqrt(n), 21)
    ts = ufm.laws.library_time(sum_ts, num_samples=N)
    unit = ufm.solvers.random_start(case.problem, key=case.key, std=1.0)
    errors, scales = [], np.array([1e2, 1e3]) * _SMALL
    for size in (case.options["size"], *scales):
        start = params(
            [size * np.asarray(W) for W in unit.weights],
            size * np.asarray(unit.features),
            _bias(case.problem),
        )
        trajectory = flow(case, ts=ts, start=start, observables=_OBSERVABLES, atol=1e-20)
        W, H = (np.asarray(trajectory.observables[name]) for name in ("W", "H"))
        means = np.stack(
            [np.asarray(ufm.labels.collapse(case.problem.labels, jax.numpy.asarray(h))) for h in H]
        )
        law_W, law_means = ufm.laws.small_start(W[0], means[0], sum_ts, samples_per_class=n)
        errors.append(np.max(np.abs(W - law_W)) / np.max(np.abs(law_W)))
        if size != case.options["size"]:
            continue
        index = np.asarray(case.problem.labels.class_index)
        yield path_claim("W", W, law_W)
        yield path_claim("class means", means, law_means)
        deviations = H - means[:, :, index]
        yield path_claim(
            "within-class deviations", deviations, np.broadcast_to(deviations[0], deviations.shape)
        )
        yield record(
            "growth",
            sum_ts,
            measured=np.linalg.norm(W, axis=(1, 2)),
            law=np.linalg.norm(law_W, axis=(1, 2)),
        )
    if case.setting is _INSIDE:
        order = np.log(errors[2] / errors[1]) / np.log(scales[1] / scales[0])
        yield band_claim("order of the error in the size of the start", order, 2.0, band=_ORDER)


def manifold_regime(case: Case) -> Setting:
    """Equal class counts, no decay, a collapsed start with W = √n H̄ᵀ and 1ᵀW = 0, and bias 1/K or
    none (centred W and H never see it)."""
    counts = np.asarray(case.problem.labels.class_counts)
    return Setting.all_of(
        bool(np.ptp(counts) == 0),
        case.problem.bias in (None, "free"),
        _no_decay(case),
        case.options.get("stretch", 1.0) == 1.0,
    )


@check(
    key="mixon2020/logistic-law",
    formula=r"\dot S = 2\sqrt n\,S - 2S^2,\quad S = WW^\top,\quad s_j(t) = \frac{\sqrt n}{1 + "
    r"(\sqrt n/s_j(0) - 1)e^{-2\sqrt n t}}",
    source="Mixon et al. 2020, the invariant subspace and its limit, by content; the law derived",
    regime=manifold_regime,
    cases=(
        _case("K=3, n=5", size=0.05),
        _case("K=4, n=10, d=3", K=4, n=10, d=3, size=0.01, seed=1),
        _case("K=5, n=2, d=8, from above", K=5, n=2, d=8, size=3.0, seed=2, full=True),
        _case(
            "K=4, n=3, a start of rank 1 stays there",
            K=4,
            n=3,
            size=0.05,
            rank=1,
            seed=3,
            full=True,
        ),
        _case("classifier 1.5 times too large", _OUTSIDE, size=0.05, stretch=1.5),
        _case("no bias", bias=None, size=0.05, seed=4, full=True),
        _case("unequal counts", _OUTSIDE, counts=(9, 4, 2), size=0.05),
    ),
)
def logistic_law(case: Case):
    """On the manifold of collapsed, self-dual, centred points every eigenvalue of W Wᵀ is logistic
    and the eigenvectors stand still."""
    problem, size = case.problem, case.options["size"]
    K, n, N = _sizes(problem)
    d = problem.feature_dim
    rank = case.options.get("rank", d)
    A, B = (
        np.asarray(jax.random.normal(key, shape))
        for key, shape in zip(jax.random.split(case.key), ((K, rank), (rank, d)), strict=True)
    )
    W = size * (np.eye(K) - 1 / K) @ A @ B
    means = W.T / np.sqrt(n)
    start = params(
        [case.options.get("stretch", 1.0) * W],
        means[:, np.asarray(problem.labels.class_index)],
        _bias(problem),
    )
    sum_ts = np.linspace(0, 4, 41)
    ts = ufm.laws.library_time(sum_ts, num_samples=N)
    trajectory = flow(case, ts=ts, start=start, observables=_OBSERVABLES)
    W_t, H_t = (np.asarray(trajectory.observables[name]) for name in ("W", "H"))
    gram = W_t @ W_t.swapaxes(1, 2)
    law = ufm.laws.balanced_gram(gram[0], sum_ts, samples_per_class=n)
    yield path_claim("W Wᵀ", gram, law)
    yield ratio_claim(
        "trace of W Wᵀ, relative at every time",
        np.trace(gram, axis1=1, axis2=2),
        np.trace(law, axis1=1, axis2=2),
    )
    index = np.asarray(problem.labels.class_index)
    yield path_claim(
        "H = Wᵀ/√n for every sample", H_t, (W_t.swapaxes(1, 2) / np.sqrt(n))[:, :, index]
    )
    yield record(
        "W Wᵀ",
        sum_ts,
        measured=np.trace(gram, axis1=1, axis2=2),
        law=np.trace(law, axis1=1, axis2=2),
    )
