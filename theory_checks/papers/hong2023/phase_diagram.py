r"""The phases of cross-entropy on a step profile: a map over imbalance and decay, measured point by
point.

There are k_A classes of n_A samples and k_B classes of n_B, no bias. With $s =
N\sqrt{\lambda_W\lambda_H}/\sqrt{n_B}$ and $R = n_A/n_B$ the phases depend on (R, s) and on the
numbers of classes alone: minority classes are told apart below s = 1, share one feature up to
$s_2(R)$, have none up to $s = \sqrt R$, and beyond it nothing is left. $s_2$ solves the equations
of `hong2023/minority-features-vanish`.
"""

from __future__ import annotations

import numpy as np

import ufm
from theory_checks.engine.claims import Claim, Record, worst_of
from theory_checks.engine.measure import GEOMETRY, Point
from theory_checks.engine.registry import Case, NotConverged, Setting, check, one_hot_problem
from theory_checks.papers.hong2023.structure import vanishing_decay

_INSIDE, _OUTSIDE = Setting.INSIDE, Setting.OUTSIDE
_FEWEST = 2  # n_B
PHASES = ("minority told apart", "minority merged", "minority at zero", "everything at zero")
# Grid points lie at least this far, relatively, from a threshold, right at which distances are
# small and say nothing; a thousandth from it they are 1e-3 and more, or rounding.
_MARGIN, _BESIDE = 5e-4, 1e-3


def thresholds(k_A: int, k_B: int, R: float) -> np.ndarray:
    """s at which the minority merges, vanishes, and everything vanishes (3,)."""
    N_per = k_A * R + k_B
    return np.array([1.0, N_per * vanishing_decay(k_A, k_B, R, 1.0), np.sqrt(R)])


def _problem(class_counts, *, s, bias=None):
    """Equal λ of strength s, d = K."""
    lam = s * np.sqrt(min(class_counts)) / sum(class_counts)
    return one_hot_problem(
        class_counts,
        widths=(len(class_counts),),
        lambda_W=lam,
        lambda_H=lam,
        bias=bias,
        loss="CrossEntropy",
        collapsed=True,
    )


def phase_regime(case: Case) -> Setting:
    """Two clusters of at least two classes each, cross-entropy, no bias, d >= K, away from the
    thresholds."""
    o = case.options
    two = len(o["minority"]) == 1 and len(o["minority"][0]) >= 2
    return Setting.all_of(two and o["classes"][0] >= 2, case.problem.bias is None)


def _case(
    name: str, setting: Setting, *, k_A: int, k_B: int, ratios, strengths, minority=None, full=False
) -> Case:
    """`minority`: groups of minority classes, by which their counts differ: group i has n_B (1 + i)
    samples."""
    minority = (tuple(range(k_A, k_A + k_B)),) if minority is None else minority
    options = {
        "classes": (k_A, k_B),
        "ratios": tuple(ratios),
        "strengths": tuple(strengths),
        "minority": minority,
    }
    parameters = {"class_counts": _counts(k_A, minority, ratios[0]), "s": strengths[0]}
    return Case(name, setting, parameters, build=_problem, options=options, full=full)


def _counts(k_A: int, minority, R: float) -> tuple[float, ...]:
    groups = [_FEWEST * (1.0 + i) for i, group in enumerate(minority) for _ in group]
    return (_FEWEST * float(R),) * k_A + tuple(groups)


def _grid(low: float, high: float, number: int) -> tuple[float, ...]:
    """Logarithmic, in the middles of equal cells, so that it can be drawn as cells."""
    edges = np.geomspace(low, high, number + 1)
    return tuple(np.sqrt(edges[1:] * edges[:-1]).tolist())


def _beside(k_A: int, k_B: int, R: float) -> tuple[float, ...]:
    """On both sides of each curve."""
    return tuple(np.outer(thresholds(k_A, k_B, R), (1 - _BESIDE, 1 + _BESIDE)).ravel().tolist())


MAPS = tuple(
    _case(
        f"({k_A}, {k_B}), 30 × 24 points",
        _INSIDE,
        k_A=k_A,
        k_B=k_B,
        ratios=_grid(1, 100, 30),
        strengths=_grid(0.3, 15, 24),
        full=True,
    )
    for k_A, k_B in ((5, 5), (3, 7))
)


@check(
    key="hong2023/phase-diagram",
    formula=(
        r"\tfrac{N\sqrt{\lambda_W\lambda_H}}{\sqrt{n_B}}:\quad <1\ \text{told apart},\ <s_2(R)\ "
        r"\text{merged},\ <\sqrt R\ \text{minority zero},\ \text{else } 0,\qquad R = "
        r"\tfrac{n_A}{n_B}"
    ),
    source="derived from the convex form of Hong & Ling 2023",
    regime=phase_regime,
    cases=(
        _case(
            "(3, 2), 3 × 5 points",
            _INSIDE,
            k_A=3,
            k_B=2,
            ratios=(2.0, 6.0, 40.0),
            strengths=(0.3, 0.97, 1.03, 2.1, 7.0),
        ),
        *(
            _case(
                f"(3, 2), R={R:g}, on both sides of each curve",
                _INSIDE,
                k_A=3,
                k_B=2,
                ratios=(R,),
                strengths=_beside(3, 2, R),
            )
            for R in (2.0, 40.0)
        ),
        *MAPS,
        _case(
            "minority classes of two sizes",
            _OUTSIDE,
            k_A=3,
            k_B=2,
            ratios=(6.0,),
            strengths=(1.03,),
            minority=((3,), (4,)),
        ),
    ),
)
def phase_diagram(case: Case):
    """Imbalance and decay alone decide whether minority classes are told apart, merged, or gone,
    and three curves separate the phases."""
    k_A, k_B = case.options["classes"]
    rows, gaps = [], []
    for R in case.options["ratios"]:
        edges = thresholds(k_A, k_B, R)
        for s in case.options["strengths"]:
            if np.min(np.abs(np.log(s / edges))) < _MARGIN:
                continue
            point = _solved(case, R, s)
            rows.append(
                (R, s, np.searchsorted(edges, s), *_distances(np.asarray(point.logits), k_A))
            )
            gaps.append(point.certificate_claim())
    R, s, predicted, apart, minority, majority = np.array(rows).T
    yield worst_of(gaps)
    # what is predicted to vanish does, and what is not is far from it
    measured = np.where(
        majority <= GEOMETRY,
        3,
        np.where(minority <= GEOMETRY, 2, np.where(apart <= GEOMETRY, 1, 0)),
    )
    yield Claim("phase", measured, predicted, 1e-12)
    columns = {
        "R": R,
        "s": s,
        "phase": measured,
        "predicted": predicted,
        "apart": apart,
        "minority": minority,
        "majority": majority,
    }
    yield Record("phases", columns)
    fine = np.geomspace(1, 100, 61)
    curves = np.array([thresholds(k_A, k_B, x) for x in fine]).T
    yield Record(
        "thresholds", {"R": fine, "merge": curves[0], "vanish": curves[1], "zero": curves[2]}
    )


def _solved(case: Case, R: float, s: float) -> Point:
    """The optimum at one point of the map."""
    problem = _problem(_counts(case.options["classes"][0], case.options["minority"], R), s=s)
    solution = ufm.minimise(problem, key=case.key, progress=False)
    if solution.result is ufm.Result.INTERRUPTED:
        raise KeyboardInterrupt
    if solution.result is not ufm.Result.CONVERGED:
        raise NotConverged(f"R={R:g}, s={s:g}: {solution}")
    return Point.of(solution)


def _distances(Z: np.ndarray, k_A: int) -> tuple[float, float, float]:
    """Largest difference between minority columns of the logits, largest minority and majority
    logit."""
    majority, minority = Z[:, :k_A], Z[:, k_A:]
    apart = np.abs(minority - minority[:, :1]).max()
    return float(apart), float(np.abs(minority).max()), float(np.abs(majority).max())
