"""Cross-entropy without decay: exact laws on the symmetric configuration, and the max-margin
limit."""

from __future__ import annotations

import itertools

import jax
import numpy as np

import ufm
from theory_checks.engine.measure import VALUE
from theory_checks.engine.registry import Case, Claim, Setting, check, one_hot_problem
from theory_checks.engine.trajectories import (
    band_claim,
    flow,
    logits,
    one_sided_claim,
    orthonormal,
    params,
    path_claim,
    ratio_claim,
    record,
)

_INSIDE, _OUTSIDE = Setting.INSIDE, Setting.OUTSIDE


def sum_problem(class_counts, *, widths, decay=0.0):
    """Cross-entropy on full columns, decay in the normalisation of the sum."""
    lam = decay / sum(class_counts)
    return one_hot_problem(
        class_counts, widths=widths, lambda_W=lam, lambda_H=lam, loss="CrossEntropy"
    )


def fixed_problem(class_counts, *, widths, scale, decay=0.0, frozen=True):
    """The same with W at a simplex ETF, W Wᵀ = a P for `scale` a: frozen in the problem, or else to
    be frozen by a rate of zero."""
    K, d = len(class_counts), widths[0]
    W = jax.numpy.asarray(np.sqrt(scale) * _contrasts(K) @ np.eye(K - 1, d))
    lam = decay / sum(class_counts)
    fixed = (W,) if frozen else None
    return ufm.Problem(
        ufm.one_hot(class_counts),
        loss=ufm.CrossEntropy(),
        widths=widths,
        lambda_W=0.0,
        lambda_H=lam,
        fixed_weights=fixed,
    )


def _contrasts(K: int) -> np.ndarray:
    """An orthonormal basis (K, K − 1) of the vectors that sum to zero."""
    return np.linalg.svd(np.eye(K) - 1 / K)[0][:, : K - 1]


def _case(
    name: str,
    setting=_INSIDE,
    *,
    K=4,
    n=3,
    counts=None,
    widths=(5,),
    decay=0.0,
    start=1e-2,
    until=20.0,
    seed=0,
    full=False,
    **options,
) -> Case:
    parameters = {
        "class_counts": (n,) * K if counts is None else counts,
        "widths": widths,
        "decay": decay,
    }
    return Case(
        name,
        setting,
        parameters,
        build=sum_problem,
        options={"start": start, "until": until, **options},
        seed=seed,
        full=full,
    )


def _symmetric_start(case: Case) -> ufm.Params:
    """Balanced factors with Z = ξ P ⊗ 1ᵀ, rotated at random; `stretch` unbalances them."""
    problem, xi = case.problem, case.options["start"]
    K, widths = problem.labels.num_classes, problem.widths
    n = float(problem.labels.num_samples) / K
    keys = jax.random.split(case.key, len(widths))
    frames = [
        _contrasts(K),
        *(orthonormal(d, K - 1, key) for d, key in zip(reversed(widths), keys, strict=True)),
    ]
    size, stretch = (np.sqrt(n) * xi) ** (1 / (len(widths) + 1)), case.options.get("stretch", 1.0)
    weights = [size * outer @ inner.T for outer, inner in itertools.pairwise(frames)]
    means = size / np.sqrt(n) * frames[-1] @ _contrasts(K).T
    index = np.asarray(problem.labels.class_index)
    return params([stretch * weights[0], *weights[1:]], means[:, index] / stretch)


def _margin(Z: np.ndarray, index: np.ndarray) -> np.ndarray:
    """The least logit of the class less another one, over all samples, at each time."""
    true = np.take_along_axis(Z, np.broadcast_to(index, (len(Z), 1, len(index))), axis=1)
    gaps = np.where(np.arange(Z.shape[1])[:, None] == index, np.inf, true - Z)
    return gaps.min(axis=(1, 2))


def half_squares(problem, params):
    """½(‖W‖² + ‖H‖²)."""
    return 0.5 * (jax.numpy.sum(params.classifier**2) + jax.numpy.sum(params.features**2))


def _on_the_manifold(case: Case, trajectory, sum_ts, law):
    Z, index = (
        np.asarray(trajectory.observables["logits"]),
        np.asarray(case.problem.labels.class_index),
    )
    K = case.problem.labels.num_classes
    margin = _margin(Z, index)
    yield ratio_claim("margin ξ, relative at every time", margin[law > 0], law[law > 0])
    yield path_claim("logits", Z, law[:, None, None] * (np.eye(K) - 1 / K)[:, index])
    yield record("margin", sum_ts, measured=margin, law=law)


def symmetric_regime(case: Case) -> Setting:
    """Equal class counts, widths >= K − 1, balanced factors with symmetric collapsed logits, equal
    decay on all factors."""
    counts, s = np.asarray(case.problem.labels.class_counts), case.options
    return Setting.all_of(
        bool(np.ptp(counts) == 0),
        min(case.problem.widths) >= len(counts) - 1,
        s.get("stretch", 1.0) == 1.0,
    )


@check(
    key="ji2021/symmetric-law",
    formula=r"(K-1)\ln\xi + \mathrm{Ei}(\xi) = 2\sqrt n Kt + \text{const};"
    r"\quad \dot u = (M+1)\left[u^{\frac{2M}{M+1}}\tfrac{\sqrt nK}{K-1+e^\xi} - \lambda "
    r"u\right],\ u = \sqrt n\,\xi",
    source="derived: the gradient flow of Ji et al. 2021 on the symmetric configuration, with "
    "decay and depth",
    regime=symmetric_regime,
    cases=(
        _case("K=4, n=3", until=1e3),
        _case("K=10, n=5, d=9", K=10, n=5, widths=(9,), start=0.5, seed=1, full=True),
        _case("K=2, n=8, from above", K=2, n=8, start=4.0, decay=1.0, seed=2, full=True),
        _case("decay 0.1", decay=0.1, until=50.0, seed=3),
        _case("decay 5, beyond the threshold: it dies", decay=5.0, start=1.0, until=4.0, seed=4),
        _case("M=2", widths=(5, 6), start=0.1, seed=5, full=True),
        _case("M=3", widths=(5, 6, 4), start=0.5, seed=6, full=True),
        _case("M=2, decay 0.3", widths=(5, 6), decay=0.3, start=0.5, seed=7, full=True),
        _case(
            "M=2, decay 0.3, a small start dies",
            widths=(5, 6),
            decay=0.3,
            start=1e-4,
            seed=8,
            full=True,
        ),
        _case("W twice too large", _OUTSIDE, stretch=2.0),
        _case("unequal counts", _OUTSIDE, counts=(6, 3, 2, 1)),
    ),
)
def symmetric_law(case: Case):
    """From a balanced symmetric start the logits stay a multiple ξ of the simplex ETF, and ξ
    follows an exponential-integral law."""
    K, M = case.problem.labels.num_classes, case.problem.depth
    N = float(case.problem.labels.num_samples)
    sum_ts = np.linspace(0, case.options["until"], 41)
    ts = ufm.laws.library_time(sum_ts, num_samples=N)
    trajectory = flow(case, ts=ts, start=_symmetric_start(case), observables={"logits": logits})
    law = ufm.laws.cross_entropy_gap(
        sum_ts,
        start=case.options["start"],
        num_classes=K,
        samples_per_class=N / K,
        depth=M,
        decay=case.parameters["decay"],
    )
    yield from _on_the_manifold(case, trajectory, sum_ts, law)


def fixed_regime(case: Case) -> Setting:
    """W frozen at a simplex ETF, any class counts, features from zero, no decay."""
    return Setting.all_of(case.parameters["decay"] == 0, case.options["start"] == 0)


def _fixed_case(
    name: str,
    setting=_INSIDE,
    *,
    counts,
    a,
    d=5,
    decay=0.0,
    frozen=True,
    start=0.0,
    until=100.0,
    seed=0,
    full=False,
) -> Case:
    parameters = {
        "class_counts": counts,
        "widths": (d,),
        "scale": a,
        "decay": decay,
        "frozen": frozen,
    }
    return Case(
        name,
        setting,
        parameters,
        build=fixed_problem,
        options={"start": start, "until": until},
        seed=seed,
        full=full,
    )


@check(
    key="ji2021/fixed-etf",
    formula=r"e^\xi + (K-1)\xi = 1 + aKt,\quad \xi = \tfrac{c}{K-1} - "
    r"W_0\!\left(\tfrac{e^{c/(K-1)}}{K-1}\right),\ c = 1 + aKt",
    source="derived: cross-entropy of features under a fixed simplex ETF classifier",
    regime=fixed_regime,
    cases=(
        _fixed_case("K=4, a=1", counts=(3,) * 4, a=1.0),
        _fixed_case("K=10, a=5, d=9", counts=(2,) * 10, a=5.0, d=9, seed=1, full=True),
        _fixed_case(
            "K=3, a=0.2, unequal counts", counts=(7, 2, 1), a=0.2, until=1e4, seed=2, full=True
        ),
        _fixed_case(
            "K=4, a=2, W moving at rate 0", counts=(3,) * 4, a=2.0, frozen=False, seed=3, full=True
        ),
        _fixed_case("features from 0.1", _OUTSIDE, counts=(3,) * 4, a=1.0, start=0.1),
        _fixed_case("decay 0.01", _OUTSIDE, counts=(3,) * 4, a=1.0, decay=0.01),
    ),
)
def fixed_etf(case: Case):
    """Under a fixed simplex ETF every feature moves along its own class vector, and its margin
    follows a Lambert law."""
    problem = case.problem
    N, K = float(problem.labels.num_samples), problem.labels.num_classes
    sum_ts = np.linspace(0, case.options["until"], 41)
    H = case.options["start"] * np.asarray(
        jax.random.normal(case.key, (problem.feature_dim, problem.labels.num_columns))
    )
    frozen = fixed_problem(**{**case.parameters, "frozen": True})
    assert frozen.fixed_weights is not None
    start = ufm.Params(frozen.fixed_weights, jax.numpy.asarray(H))
    rates = None if case.parameters["frozen"] else {"weights": 0.0}
    trajectory = flow(
        case,
        ts=ufm.laws.library_time(sum_ts, num_samples=N),
        start=start,
        observables={"logits": logits},
        path=ufm.flows.Path(rates=rates),
    )
    law = ufm.laws.fixed_etf_gap(sum_ts, num_classes=K, squared_scale=case.parameters["scale"])
    yield from _on_the_manifold(case, trajectory, sum_ts, law)


# the limit is approached like 1/ln t: at t = 1e7 the slope of ln L against ln t differs from its
# law by the distance to symmetry, 1e-3
_SLOPE = 5e-3
# 2 γ*² t L ½(‖W‖² + ‖H‖²) tends to 1 like 1 + 1/ξ + 2/ξ² on the symmetric solution; at t = 1e7,
# where that is 0.05 off, 6/ξ³ and the distance to symmetry are 1e-3
_RATE = 2e-3


def _largest_margin(K: int, n: int, limit: float):
    """γ* from both sides: the simplex ETF has it, and no logits have more than a dual point,
    weights β_ij that sum to one: ‖Σ β_ij (e_{y_i} − e_j) e_iᵀ‖."""
    etf = np.kron(np.eye(K) - 1 / K, np.ones(n))
    # (its margin is 1, its least ½(‖W‖² + ‖H‖²) the nuclear norm)
    yield Claim("margin of the simplex ETF", 1 / np.linalg.norm(etf, "nuc"), limit, VALUE, limit)
    # (alike for every sample and other class)
    pull = K * etf / (n * K * (K - 1))
    yield Claim("no margin is larger", np.linalg.norm(pull, 2), limit, VALUE, limit)


def margin_regime(case: Case) -> Setting:
    """Equal class counts, d >= K − 1, no decay, a generic start."""
    counts = np.asarray(case.problem.labels.class_counts)
    return Setting.all_of(
        bool(np.ptp(counts) == 0),
        case.problem.feature_dim >= len(counts) - 1,
        case.parameters["decay"] == 0,
    )


@check(
    key="ji2021/max-margin-trend",
    formula=r"\gamma = \frac{\min_{i,\,j\ne y_i}(z_{y_i} - z_j)_i}{\tfrac12(\|W\|^2 + \|H\|^2)} "
    r"\nearrow \gamma^* = \frac{1}{(K-1)\sqrt n},"
    r"\quad t\,L\,\tfrac12(\|W\|^2+\|H\|^2) \to \frac{1}{2\gamma^{*2}}",
    source="Ji et al. 2021, convergence in direction to the max-margin problem, by content; its "
    "value and the rate derived",
    regime=margin_regime,
    cases=(
        _case("K=4, n=3, d=5", seed=1),
        _case("K=3, n=5, d=3", K=3, n=5, widths=(3,), seed=2, full=True),
        _case("K=5, n=2, d=4 = K - 1", K=5, n=2, widths=(4,), seed=3, full=True),
        _case("K=4, n=3, d=2 < K - 1", _OUTSIDE, widths=(2,)),
    ),
)
def max_margin_trend(case: Case):
    """The normalised margin grows towards that of the simplex ETF, like 1/ln t, and the loss falls
    as on the symmetric solution.

    Tested over t = 1e2 … 1e7 by trend and rate; the limit itself is out of reach of any
    computation.
    """
    problem = case.problem
    N, K = float(problem.labels.num_samples), problem.labels.num_classes
    sum_ts = np.geomspace(1e2, 1e7, 11)
    observables = {"logits": logits, "size": half_squares}
    start = ufm.solvers.random_start(problem, key=case.key, std=0.1)
    # the flow only gets slower: what it must resolve is a trend of 1e-3
    trajectory = flow(
        case,
        ts=ufm.laws.library_time(sum_ts, num_samples=N),
        start=start,
        observables=observables,
        rtol=1e-10,
        atol=1e-14,
    )
    size, value = np.asarray(trajectory.observables["size"]), np.asarray(trajectory.value)
    margin = _margin(
        np.asarray(trajectory.observables["logits"]), np.asarray(problem.labels.class_index)
    )
    limit = ufm.laws.max_margin(num_classes=K, samples_per_class=N / K)
    law = ufm.laws.cross_entropy_gap(sum_ts, start=0.1, num_classes=K, samples_per_class=N / K)
    loss_law = np.log1p((K - 1) * np.exp(-law))

    def slope(loss):
        return np.log(loss[-1] / loss[-3]) / np.log(sum_ts[-1] / sum_ts[-3])

    yield from _largest_margin(K, round(N / K), limit)
    ratio, deficit = margin / size, size * limit - margin
    yield one_sided_claim("the normalised margin increases", -np.diff(ratio))
    yield one_sided_claim("… and stays below its limit", ratio - limit)
    yield one_sided_claim(
        "γ*·½(‖W‖² + ‖H‖²) − margin decreases: the gap is O(1/ln t)", np.diff(deficit)
    )
    yield band_claim(
        "slope of ln L against ln t over the last decade",
        slope(value),
        slope(loss_law),
        band=_SLOPE,
    )
    yield band_claim(
        "t L ½(‖W‖² + ‖H‖²) 2γ*² at the end, to 1 + 1/ξ + 2/ξ²",
        sum_ts[-1] * N * value[-1] * size[-1] * 2 * limit**2,
        1 + 1 / law[-1] + 2 / law[-1] ** 2,
        band=_RATE,
    )
    yield record("normalised margin", sum_ts, measured=ratio, limit=np.full_like(ratio, limit))
