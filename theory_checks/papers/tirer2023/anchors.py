"""Tirer, Huang & Niles-Weed 2023: collapsed anchors, and the flow on the central path."""

from __future__ import annotations

import jax
import numpy as np

import ufm
from theory_checks.engine.measure import GEOMETRY, VALUE, solve, value_at
from theory_checks.engine.registry import Case, Claim, NotConverged, Setting, check
from theory_checks.engine.trajectories import band_claim, features, flow, one_sided_claim, record

_INSIDE, _OUTSIDE = Setting.INSIDE, Setting.OUTSIDE


def anchored(class_counts, *, widths, lambda_W, lambda_H, beta=None, anchor=None):
    """The problem with λ_W, λ_H, β in their normalisation, pulled to `anchor` (d, N) where
    given."""
    K, N = len(class_counts), sum(class_counts)
    translated = ufm.perturbation.library_parameters(
        num_classes=K, samples_per_class=N / K, lambda_W=lambda_W, lambda_H=lambda_H
    )
    pull = {} if beta is None else {"anchor": anchor, "beta": beta / N}
    return ufm.Problem(
        ufm.one_hot(class_counts), loss=ufm.MeanSquaredError(), widths=widths, **translated, **pull
    )


def pulled(case: Case, anchor, *, beta: float) -> ufm.Problem:
    """The problem of the case with a pull."""
    return anchored(**{**case.parameters, "beta": beta}, anchor=jax.numpy.asarray(anchor))


def minimiser(problem: ufm.Problem, key, *, start=None) -> ufm.Params:
    """The minimiser of a pulled problem; convergence is asserted before anything is read."""
    solution = ufm.minimise(
        problem, key=None if start is not None else key, start=start, progress=False
    )
    if solution.result is not ufm.Result.CONVERGED:
        raise NotConverged(str(solution))
    return solution.params


def case(
    name: str,
    setting=_INSIDE,
    *,
    K=3,
    n=5,
    d=4,
    lambda_W=0.5,
    lambda_H=0.2,
    counts=None,
    seed=0,
    full=False,
    **options,
) -> Case:
    """A case in their normalisation, without a pull."""
    counts = (n,) * K if counts is None else counts
    parameters = {
        "class_counts": counts,
        "widths": (d,),
        "lambda_W": lambda_W,
        "lambda_H": lambda_H,
    }
    return Case(name, setting, parameters, build=anchored, options=options, seed=seed, full=full)


def random_features(case: Case) -> np.ndarray:
    """Features without any structure, not centred."""
    shape = (case.problem.feature_dim, case.problem.labels.num_columns)
    return 0.5 + np.asarray(jax.random.normal(jax.random.fold_in(case.key, 1), shape))


def scatters(case: Case, H: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Tr Σ_W and Tr Σ_B of features (..., d, N), as they define them."""
    index = np.asarray(case.problem.labels.class_index)
    K = case.problem.labels.num_classes
    means = np.stack([H[..., index == k].mean(axis=-1) for k in range(K)], axis=-1)
    within = np.sum((H - means[..., index]) ** 2, axis=(-2, -1)) / len(index)
    between = np.sum((means - means.mean(axis=-1, keepdims=True)) ** 2, axis=(-2, -1)) / K
    return within, between


def normalisation_regime(case: Case) -> Setting:
    """Decay and pull translated by the table at the top of the file."""
    return Setting.all_of(case.options["translated"])


@check(
    key="tirer2023/normalisation",
    formula=r"\lambda_W^{ufm} = \lambda_W/K,\quad \lambda_H^{ufm} = \lambda_H/(Kn),\quad "
    r"\beta^{ufm} = \beta/(Kn)",
    source="Tirer, Huang & Niles-Weed 2023, Eq. 2",
    regime=normalisation_regime,
    cases=(
        case("K=3, n=5", translated=True),
        case("K=4, n=2, d=6", K=4, n=2, d=6, lambda_W=1.4, lambda_H=0.7, translated=True),
        case("their λ and β read as ours", _OUTSIDE, translated=False),
    ),
)
def normalisation(case: Case):
    """Their objective and that of `ufm` are the same function."""
    Y, H0, beta = np.asarray(case.problem.labels.targets), random_features(case), 3.0
    (K, N), lambda_W, lambda_H = Y.shape, case.parameters["lambda_W"], case.parameters["lambda_H"]
    if case.options["translated"]:
        problem = pulled(case, H0, beta=beta)
    else:
        decays = {"lambda_W": lambda_W, "lambda_H": lambda_H, "beta": beta}
        problem = ufm.Problem(
            case.problem.labels,
            loss=ufm.MeanSquaredError(),
            widths=case.problem.widths,
            anchor=jax.numpy.asarray(H0),
            **decays,
        )
    for i, key in enumerate(jax.random.split(case.key, 3)):
        at = ufm.solvers.random_start(problem, key=key, std=1.0)
        W, H = np.asarray(at.classifier), np.asarray(at.features)
        theirs = np.sum((W @ H - Y) ** 2) / (2 * N) + lambda_W * np.sum(W**2) / (2 * K)
        theirs += (lambda_H * np.sum(H**2) + beta * np.sum((H - H0) ** 2)) / (2 * N)
        yield Claim(
            f"objective at random point {i + 1}",
            value_at(problem, at),
            theirs,
            VALUE,
            scale=theirs,
        )


def path_regime(case: Case) -> Setting:
    """Balanced classes, squared error without bias, λ_W > 0, λ_H >= 0, features not collapsed, W
    optimal for H at all times."""
    counts = np.asarray(case.problem.labels.class_counts)
    return Setting.all_of(
        bool(np.ptp(counts) == 0),
        case.parameters["lambda_W"] > 0,
        case.options.get("path", "central") == "central",
    )


PATHS = (
    case("λ_W=0.1, λ_H=0", lambda_W=0.1, lambda_H=0.0),
    case("λ_W=0.5, λ_H=0.2", seed=1),
    case("W not optimal: the ordinary gradient flow", _OUTSIDE, path="gradient"),
    case("λ_W=2, λ_H=1: H dies", lambda_W=2.0, lambda_H=1.0, seed=2),
)


@check(
    key="tirer2023/central-path",
    formula=r"\tfrac{d}{dt}\widetilde{NC}_1(H_t) < 0,"
    r"\quad \tfrac{d}{dt}e^{2\lambda_Ht}\mathrm{Tr}\,\Sigma_W \le 0,\quad "
    r"\tfrac{d}{dt}e^{2\lambda_Ht}\mathrm{Tr}\,\Sigma_B > 0",
    source="Tirer, Huang & Niles-Weed 2023, Theorem 3.1",
    regime=path_regime,
    cases=(
        *PATHS,
        case("K=4, n=3, d=3 < K", K=4, n=3, d=3, lambda_W=0.3, seed=3, full=True),
    ),
)
def central_path(case: Case):
    """On the central path within-class scatter falls and between-class scatter grows, both relative
    to e^{−2 λ_H t}.

    The scatters are compared in the rescaled features e^{λ_H t} H, on the logarithm: the first one
    has a plateau, where rounding decides the sign.
    """
    lambda_H, path = case.parameters["lambda_H"], case.options.get("path", "central")
    N = float(case.problem.labels.num_samples)
    H0 = random_features(case)
    drawn = ufm.solvers.random_start(case.problem, key=case.key, std=1.0)
    start = ufm.Params(drawn.weights, jax.numpy.asarray(H0))
    ts = np.linspace(0, 10, 101)
    if path == "central":
        trajectory = flow(
            case,
            ts=ts,
            start=start,
            observables={"H": features},
            path=ufm.flows.Path("central", {"features": N}),
            atol=1e-20,
        )
    else:
        trajectory = flow(
            case,
            ts=ts,
            start=start,
            observables={"H": features},
            path=ufm.flows.Path(rates={"features": N, "weights": 1.0}),
            atol=1e-20,
        )
    H = np.asarray(trajectory.observables["H"])
    within, between = (np.log(trace) + 2 * lambda_H * ts for trace in scatters(case, H))
    for name, trend in (
        ("NC1~ falls", between - within),
        ("e^{2λt} Tr Σ_W falls", -within),
        ("e^{2λt} Tr Σ_B grows", between),
    ):
        yield one_sided_claim(name, -np.diff(trend))
    velocity = ufm.perturbation.reduced_velocity(
        H0, case.problem.labels.targets, lambda_W=case.parameters["lambda_W"], lambda_H=lambda_H
    )
    yield Claim(
        "velocity at the start",
        *_first_velocity(case, start, velocity, path),
        GEOMETRY,
        scale=float(np.max(np.abs(velocity))),
    )
    yield record(
        "NC1", ts, measured=np.exp(within - between), within=np.exp(within), between=np.exp(between)
    )


def _first_velocity(
    case: Case, start: ufm.Params, velocity: np.ndarray, path: str
) -> tuple[np.ndarray, np.ndarray]:
    """dH/dt at the start by a difference of fourth order over the flow itself, and the formula."""
    N, step = float(case.problem.labels.num_samples), 1e-3
    way = (
        ufm.flows.Path("central", {"features": N})
        if path == "central"
        else ufm.flows.Path(rates={"features": N, "weights": 1.0})
    )
    trajectory = flow(
        case, ts=step * np.arange(5), start=start, observables={"H": features}, path=way
    )
    H = np.asarray(trajectory.observables["H"])
    weights = np.array([-25 / 12, 4, -3, 4 / 3, -1 / 4]) / step
    return np.einsum("t,tdc->dc", weights, H), velocity


# the weakest of three pulls, ten times apart, and how close to their limits orders and
# extrapolations come from there
_STRONG, _ORDER, _EXTRAPOLATED = 1e2, 0.02, 1e-6


def near_regime(case: Case) -> Setting:
    """Balanced classes, λ_W > 0, features that are not collapsed, a pull much stronger than the
    curvature of the loss."""
    counts = np.asarray(case.problem.labels.class_counts)
    return Setting.all_of(
        bool(np.ptp(counts) == 0),
        case.parameters["lambda_W"] > 0,
        case.options.get("weakest", _STRONG) >= _STRONG,
    )


@check(
    key="tirer2023/strong-pull",
    formula=r"\widetilde{NC}_1(H_{1/\beta}) < \widetilde{NC}_1(H_0),"
    r"\quad \beta\,[\widetilde{NC}_1(H_{1/\beta}) - \widetilde{NC}_1(H_0)] \to "
    r"\tfrac{d}{dt}\widetilde{NC}_1(H_t)\big|_{t=0}",
    source="Tirer, Huang & Niles-Weed 2023, Corollary 3.2; the limit derived",
    regime=near_regime,
    cases=(
        case("λ_W=0.5, λ_H=0.2"),
        case("λ_W=0.1, λ_H=0.05, d=6", lambda_W=0.1, lambda_H=0.05, d=6, seed=1, full=True),
        case("K=4, n=3, λ_W=1.5, λ_H=0.5", K=4, n=3, lambda_W=1.5, lambda_H=0.5, seed=2, full=True),
        case("weak pulls", _OUTSIDE, weakest=0.1),
    ),
)
def strong_pull(case: Case):
    """One strongly pulled minimisation collapses the features a little, by 1/β times the slope of
    the central path."""
    H0, betas = (
        random_features(case),
        case.options.get("weakest", _STRONG) * np.array([1.0, 10.0, 100.0]),
    )

    def ratio(H):
        return float(np.divide(*scatters(case, H)))

    pulls = [
        np.asarray(minimiser(pulled(case, H0, beta=float(beta)), case.key).features)
        for beta in betas
    ]
    changes = np.array([ratio(H) - ratio(H0) for H in pulls])
    yield one_sided_claim("NC1~ falls", changes)
    velocity = ufm.perturbation.reduced_velocity(
        H0,
        case.problem.labels.targets,
        lambda_W=case.parameters["lambda_W"],
        lambda_H=case.parameters["lambda_H"],
    )
    slope = (ratio(H0 + 1e-5 * velocity) - ratio(H0 - 1e-5 * velocity)) / 2e-5
    errors = np.abs(betas * changes / slope - 1)
    yield band_claim("order of the error in 1/β", np.log10(errors[1] / errors[2]), 1.0, band=_ORDER)
    # Richardson's extrapolation, whose error is of second order in 1/β
    best = (10 * betas[2] * changes[2] - betas[1] * changes[1]) / 9
    yield band_claim(
        "β [NC1~(H) − NC1~(H0)] over the slope, extrapolated", best / slope, 1.0, band=_EXTRAPOLATED
    )


def unique_regime(case: Case) -> Setting:
    """λ_W λ_H < 1 and the anchor a minimiser of the problem without a pull."""
    c = case.parameters["lambda_W"] * case.parameters["lambda_H"]
    return Setting.all_of(Setting.below(c, 1.0), case.options.get("off", 0.0) == 0.0)


@check(
    key="tirer2023/anchored-at-collapse",
    formula=r"H_0 = H^* \in \arg\min f(\cdot)|_{\beta=0}\ \Rightarrow\ (W^*, H^*) \text{ is the "
    r"unique minimiser of } f(\cdot\,; H_0)",
    source="Tirer, Huang & Niles-Weed 2023, Corollary 2.2",
    regime=unique_regime,
    cases=(
        case("β=1", d=6, beta=1.0),
        case("β=0.01", beta=0.01, seed=1),
        case("β=100, K=4, n=3, d=4", K=4, n=3, beta=100.0, seed=2, full=True),
        case("λ_W=2, λ_H=0.4", lambda_W=2.0, lambda_H=0.4, beta=1.0, seed=3),
        case("an anchor 10 % off", _OUTSIDE, beta=1.0, off=0.1),
    ),
)
def anchored_at_collapse(case: Case):
    """Pulled to collapsed features, every start comes back to them, entry by entry: the pull
    removes the rotations."""
    collapsed = solve(case).params
    H = np.asarray(collapsed.features)
    anchor = H + case.options.get("off", 0.0) * np.asarray(
        jax.random.normal(jax.random.fold_in(case.key, 2), H.shape)
    )
    problem = pulled(case, anchor, beta=case.options["beta"])
    for i, key in enumerate(jax.random.split(case.key, 4)):
        found = minimiser(problem, key)
        yield Claim(
            f"features from start {i + 1}",
            found.features,
            anchor,
            GEOMETRY,
            scale=float(np.max(np.abs(H))),
        )
        W = np.asarray(collapsed.classifier)
        yield Claim(
            f"classifier from start {i + 1}",
            found.classifier,
            W,
            GEOMETRY,
            scale=float(np.max(np.abs(W))),
        )
