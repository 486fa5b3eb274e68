r"""Fisher, Meng, Papyan 2024, "Pushing Boundaries: Mixup's Influence on Neural Collapse": the
optimal features of a given classifier.

With a simplex ETF as classifier and cross-entropy, the feature of each target is the unique minimum
of a strictly convex function, $\mathrm{softmax}(z) + s z = q$. Features are measured, one target at
a time, by `ufm.solvers.fit_features`. The objective, the translation of its normalisation and the
formulas are in `formulas.py`. The statements are cited by content.
"""

from __future__ import annotations

import jax
import numpy as np

import ufm
from theory_checks.engine.measure import NotConverged
from theory_checks.engine.registry import BOUNDARY_WIDTH, Case, Claim, Record, Setting, check
from theory_checks.formulas.frames import contrast
from theory_checks.papers.fisher2024 import formulas

_SOURCE = "Fisher, Meng & Papyan 2024, optimal features of mixup for a simplex ETF"
_INSIDE, _OUTSIDE = Setting.INSIDE, Setting.OUTSIDE

# Features are solved for to rounding, 1e-16/s in relation, and the Lambert form of the gaps rounds
# as much.
FITTED = 1e-9


def fixed_problem(
    num_classes: int,
    *,
    mu: float,
    m: float = 1.0,
    lengths=None,
    alpha=None,
    lam=None,
    smoothing: float = 0.0,
    loss="CrossEntropy",
):
    """A problem whose classifier is an ETF of rows of length m (times `lengths`, if given).

    Its labels are those of mixup with `alpha`; or λ e_1 + (1 − λ) e_2 for each λ of `lam`; or else
    every class mixed with itself at four λ, which is the same label four times, smoothed by
    `smoothing`.
    """
    import jax

    K = num_classes
    W = ufm.simplex_etf(K, multiplier=m, dim=K, key=jax.random.key(K)).T
    if lengths is not None:
        W = W * np.asarray(lengths)[:, None]
    if alpha is not None:
        labels = ufm.mixup(K, alpha)
    elif lam is not None:
        labels = ufm.soft(np.concatenate([[lam, 1 - np.asarray(lam)], np.zeros((K - 2, len(lam)))]))
    else:
        own = [share * np.eye(K) + (1 - share) * np.eye(K) for share in (0.0, 0.25, 0.5, 1.0)]
        labels = ufm.soft((1 - smoothing) * np.concatenate(own, axis=1) + smoothing / K)
    decay = mu / float(labels.num_samples)
    return ufm.Problem(
        labels,
        loss=getattr(ufm, loss)(),
        widths=(K,),
        lambda_W=0.0,
        lambda_H=decay,
        fixed_weights=(W,),
    )


def fitted(problem: ufm.Problem) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Classifier (K, d), features (d, C) and logits (K, C), measured."""
    solution = ufm.solvers.fit_features(problem, progress=False)
    if solution.result is not ufm.Result.CONVERGED:
        raise NotConverged(str(solution))
    return (
        np.asarray(solution.params.classifier),
        np.asarray(solution.params.features),
        np.asarray(solution.logits),
    )


def scales(problem: ufm.Problem) -> tuple[int, float, float]:
    """K, a and s of a problem with a fixed classifier; a from the mean square of its rows."""
    K = problem.labels.num_classes
    a = float(np.sum(np.square(_classifier(problem)))) / (K - 1)
    return K, a, float(problem.lambda_H * problem.labels.num_samples) / a


def _classifier(problem: ufm.Problem) -> np.ndarray:
    assert problem.fixed_weights is not None
    return np.asarray(problem.fixed_weights[0])


def is_etf(problem: ufm.Problem) -> bool:
    """Whether the fixed classifier is a simplex ETF."""
    K, a, _ = scales(problem)
    W = _classifier(problem)
    return bool(np.max(np.abs(W @ W.T - a * contrast(K))) <= BOUNDARY_WIDTH * a)


def usual_setting(problem: ufm.Problem) -> Setting:
    """Cross-entropy, a simplex ETF, one layer, no bias."""
    cross_entropy = isinstance(problem.loss, ufm.CrossEntropy)
    return Setting.all_of(cross_entropy, is_etf(problem), problem.depth == 1, not problem.has_bias)


def fixed_case(
    name: str,
    setting: Setting,
    *,
    K: int,
    s: float,
    m: float = 1.0,
    figure: bool = False,
    full=False,
    **parameters,
) -> Case:
    """A case of `fixed_problem` with s = μ (K − 1)/(K m²). `figure`: whether figures show it."""
    parameters = {"num_classes": K, "mu": s * m**2 * K / (K - 1), "m": m} | parameters
    return Case(
        name, setting, parameters, build=fixed_problem, options={"figure": figure}, full=full
    )


def relative_claim(name: str, measured, predicted, tolerance: float = FITTED) -> Claim:
    """An array, relative to its largest entry."""
    return Claim(name, measured, predicted, tolerance, scale=float(np.max(np.abs(predicted))))


def same_class_regime(case: Case) -> Setting:
    """Cross-entropy without bias, the classifier a simplex ETF, both points of the same class."""
    return Setting.all_of(usual_setting(case.problem), case.problem.labels.is_one_hot())


_UNEQUAL = (1.5, 1.0, 1.0, 1.0)


@check(
    key="fisher2024/same-class",
    formula=r"h_i=\tfrac{\xi}{a}w_i,\quad \xi e^{\xi}+(K-1)\xi=\tfrac "
    r"Ks=\tfrac{K^2m^2}{(K-1)\mu},\quad 1-p_i=\tfrac{s(K-1)\xi}{K}",
    source=_SOURCE,
    regime=same_class_regime,
    cases=(
        fixed_case("K=3, s=0.1", _INSIDE, K=3, s=0.1, m=2.0, full=True),
        fixed_case("K=4, s=1e-3", _INSIDE, K=4, s=1e-3),
        fixed_case("K=4, s=1e-6", _INSIDE, K=4, s=1e-6, m=0.3),
        fixed_case("K=4, s=100", _INSIDE, K=4, s=100.0),
        fixed_case("K=2", _INSIDE, K=2, s=0.1, full=True),
        fixed_case("K=10, s=1e-3", _INSIDE, K=10, s=1e-3, full=True),
        fixed_case("K=100, s=1e-2", _INSIDE, K=100, s=1e-2, full=True),
        fixed_case("rows of unequal length", _OUTSIDE, K=4, s=1e-3, lengths=_UNEQUAL),
        fixed_case("smoothed labels", _OUTSIDE, K=4, smoothing=0.1, s=1e-3),
    ),
)
def same_class(case: Case):
    """Mixtures within one class have the feature of the class whatever λ: along the classifier, at
    a gap that is an r-Lambert function."""
    W, H, Z = fitted(case.problem)
    K, a, s = scales(case.problem)
    index = np.asarray(case.problem.labels.class_index)
    at = np.arange(Z.shape[1])
    xi = float(formulas.same_class_gap(K, s))
    yield relative_claim("features", H, xi / a * W[index].T)
    yield relative_claim(
        "logit gaps", Z[index, at] - (Z.sum(0) - Z[index, at]) / (K - 1), np.full(len(at), xi)
    )
    yield Claim(
        "1 − p_i",
        1 - formulas.softmax(Z)[index, at],
        np.full(len(at), s * (K - 1) * xi / K),
        FITTED,
    )
    yield Claim(
        "no λ in the features",
        H - np.tile(H[:, :K], 4),
        np.zeros_like(H),
        FITTED,
        scale=xi / a * float(np.linalg.norm(W[0])),
    )


def two_class_regime(case: Case) -> Setting:
    """Cross-entropy without bias, the classifier a simplex ETF, targets that mix at most two
    classes."""
    at_most_two = np.all(np.sum(np.asarray(case.problem.labels.targets) > 0, axis=0) <= 2)
    return Setting.all_of(usual_setting(case.problem), bool(at_most_two))


STRENGTHS = (
    fixed_case("K=3, μ=0.3", _INSIDE, K=3, alpha=1.0, s=0.2, figure=True),
    fixed_case("K=3, μ=0.01", _INSIDE, K=3, alpha=1.0, s=0.01 * 2 / 3, figure=True),
    fixed_case("K=3, μ=0.0001", _INSIDE, K=3, alpha=1.0, s=1e-4 * 2 / 3, figure=True),
)


@check(
    key="fisher2024/different-class",
    formula=(
        r"h^\lambda_{ij}=\tfrac1a(u_iw_i+u_jw_j),\quad u_k=c_k-W_0(te^{c_k}),\ c_i=\tfrac\lambda "
        r"s+t,\ c_j=\tfrac{1-\lambda}s+t,"
        r"\quad u_i+u_j=Kt"
    ),
    source=_SOURCE,
    regime=two_class_regime,
    cases=(
        *STRENGTHS,
        fixed_case("K=4, α=1", _INSIDE, K=4, alpha=1.0, s=1e-2, m=2.0),
        fixed_case("λ=1/2 always", _INSIDE, K=4, alpha=np.inf, s=1e-2),
        fixed_case("K=2", _INSIDE, K=2, alpha=1.0, s=1e-2, full=True),
        fixed_case("K=4, α=0.2", _INSIDE, K=4, alpha=0.2, s=1e-3, full=True),
        fixed_case("K=10", _INSIDE, K=10, alpha=1.0, s=0.01 * 9 / 10, full=True),
        fixed_case("λ=1/2 always, K=2", _INSIDE, K=2, alpha=np.inf, s=1e-4, full=True),
        fixed_case("rows of unequal length", _OUTSIDE, K=4, alpha=1.0, s=1e-2, lengths=_UNEQUAL),
        fixed_case("squared error", _OUTSIDE, K=3, alpha=1.0, s=1e-2, loss="MeanSquaredError"),
    ),
)
def different_class(case: Case):
    """Mixtures of two classes lie in the span of their two classifiers, at coefficients that solve
    one scalar equation."""
    W, H, Z = fitted(case.problem)
    K, a, s = scales(case.problem)
    pairs = ufm.labels.mixed_pairs(case.problem.labels)
    predicted = formulas.two_class_logits(K, pairs.first, pairs.second, pairs.lam, s)
    yield relative_claim("logits", Z, predicted)
    yield relative_claim("features", H, W.T @ predicted / a)
    yield Claim(
        "p + s z = q", formulas.softmax(Z) + s * Z, np.asarray(case.problem.labels.targets), FITTED
    )

    mixed = ~pairs.same
    i, j, lam = pairs.first[mixed], pairs.second[mixed], pairs.lam[mixed]
    u = formulas.gaps(K, lam, s)
    # layout: what is left of a feature off the span of its two classifiers
    off = [
        np.linalg.norm(h - W[[p, q]].T @ np.linalg.lstsq(W[[p, q]].T, h, rcond=None)[0])
        for h, p, q in zip(H[:, mixed].T, i, j, strict=True)
    ]
    yield Claim(
        "off the span of w_i and w_j",
        off,
        np.zeros(len(off)),
        FITTED,
        scale=float(np.max(np.abs(H))),
    )
    channels = ufm.analysis.channel_coordinates(Z, case.problem.labels)
    width, depth = channels.width[mixed], channels.depth[mixed]
    yield (
        relative_claim("width u_i − u_j", width, u.first - u.second)
        if np.ptp(lam)
        else Claim("width at λ = 1/2", width, 0 * width, FITTED)
    )
    # nodes are symmetric: those of one pair in reverse order are those of 1 − λ
    by_pair = width.reshape(K * (K - 1) // 2, -1)
    yield Claim(
        "u_i(λ) = u_j(1 − λ)",
        by_pair,
        -by_pair[:, ::-1],
        FITTED,
        scale=float(max(1.0, np.max(np.abs(by_pair)))),
    )
    if K > 2:
        yield relative_claim("depth u_i + u_j", depth, u.first + u.second)
        yield Claim("one logit for the other classes", channels.spread[mixed], 0 * lam, FITTED)
    if np.all(lam == 0.5):
        # for K = 2 the gaps are known up to a common shift, and the logits are zero
        half = np.full(len(lam), formulas.half_gap(K, s) if K > 2 else 0.0)
        yield Claim(
            "u at λ = 1/2",
            depth / 2 if K > 2 else Z[0, mixed],
            half,
            FITTED,
            scale=float(formulas.half_gap(K, s)),
        )
    yield from figure_records(case, W, H, Z, theory=W.T @ predicted / a, s=s)


def figure_records(case: Case, W, H, Z, *, theory, s: float | None = None):
    """What the figures of mixed points are drawn from, for the cases that they show.

    "mixed points", one entry a target: its classes (`same` is 1 for a pure one), λ, mass, `width`
    and `depth` of the channel, its place `x1`, `x2` in the plane of the first three classes,
    measured and by `theory` (d, C). "classifiers in the plane": of these three. "theory of a
    channel", for an ETF at strength s: the line from class to class, boundary layers and all, with
    places `x1_12`, …, `x2_23` between the three.
    """
    if not case.options.get("figure"):
        return
    channels = ufm.analysis.channel_coordinates(Z, case.problem.labels)
    pairs, plane = channels.pairs, _plane(W)
    points, lines, corners = _places(plane, H, theory, W[:3].T)
    columns = {
        "first": pairs.first,
        "second": pairs.second,
        "same": pairs.same.astype(int),
        "lam": pairs.lam,
    }
    columns |= {
        "mass": np.asarray(case.problem.labels.masses),
        "width": channels.width,
        "depth": channels.depth,
    }
    places = {"x1": points[0], "x2": points[1], "theory_x1": lines[0], "theory_x2": lines[1]}
    yield Record("mixed points", columns | places)
    yield Record("classifiers in the plane", {"x1": corners[0], "x2": corners[1]})
    if s is not None:
        K, a = len(W), float(np.sum(np.square(W))) / (len(W) - 1)
        logit = np.linspace(-16, 16, 201)
        lam = 1 / (1 + np.exp(-logit))
        u = formulas.gaps(K, lam, s)
        line = {
            "lam": lam,
            "logit_lam": logit,
            "width": u.first - u.second,
            "depth": u.first + u.second,
        }
        between = ((0, 1), (0, 2), (1, 2))
        ways = [(np.outer(W[i], u.first) + np.outer(W[j], u.second)) / a for i, j in between]
        for (i, j), place in zip(between, _places(plane, *ways), strict=True):
            line |= {f"x1_{i + 1}{j + 1}": place[0], f"x2_{i + 1}{j + 1}": place[1]}
        yield Record("theory of a channel", line)


# one program, where its operations one by one are twenty
_plane = jax.jit(ufm.analysis.three_class_projection)


def _places(plane: ufm.analysis.Projection, *columns) -> list[np.ndarray]:
    """Where matrices of columns fall, each (2, C); all at once, as each shape is compiled anew."""
    ends = np.cumsum([each.shape[1] for each in columns])[:-1]
    return np.split(np.asarray(plane(np.concatenate(columns, axis=1))), ends, axis=1)
