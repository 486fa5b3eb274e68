"""Feature norm and direction: a length that the teacher's pins, and a pull that is an anchor."""

from __future__ import annotations

import numpy as np

import ufm
from theory_checks.engine.measure import EXACT, VALUE, Point, precision, solve
from theory_checks.engine.registry import Case, Claim, Record, Setting, check
from theory_checks.formulas.roots import bisect
from theory_checks.papers.wang2023.formulas import Fixed, constant, objective, pulled, rows

_INSIDE, _BOUNDARY, _OUTSIDE = Setting.INSIDE, Setting.BOUNDARY, Setting.OUTSIDE


def _case(name, setting, mu, *, K=4, m=2.0, gamma=1.0, tau=1.5, off=0.0, full=False) -> Case:
    """μ as a number, or where it lies: "low" and "high", the ends of the pinned interval."""
    if isinstance(mu, str):
        mu = Fixed(K, m, 1.0, gamma, tau).pinned[mu == "high"]
    parameters = {"class_counts": (2,) * K, "m": m, "mu": mu, "gamma": gamma, "tau": tau}
    parameters |= {"dim": K, "off": off}
    return Case(name, setting, parameters, build=pulled, full=full)


def _fixed(case: Case) -> Fixed:
    p = case.parameters
    return Fixed(len(p["class_counts"]), p["m"], p["mu"], p["gamma"], p["tau"])


def regime(case: Case) -> Setting:
    """A fixed simplex ETF whose rows point where the teacher's features do, γ > 0, μ > 0; μ at an
    end of the pinned interval is the boundary."""
    p, (low, high) = case.parameters, _fixed(case).pinned
    ends = Setting.all_of(
        *(Setting.below(p["mu"], end) is not _BOUNDARY or _BOUNDARY for end in (low, high))
    )
    return Setting.all_of(p["off"] == 0, ends)


def without_direction(case: Case, mu: float) -> ufm.Problem:
    """What is minimised beyond the length τ but for a term that is at least zero."""
    problem = case.problem
    return ufm.Problem(
        problem.labels,
        loss=ufm.CrossEntropy(),
        widths=problem.widths,
        lambda_W=0.0,
        lambda_H=mu / sum(case.parameters["class_counts"]),
        fixed_weights=problem.fixed_weights,
    )


def _leaves(case: Case, build, low: float, high: float) -> float:
    """μ at which the length of what is found is τ, by bisection; `build` has no bound on it."""

    def shorter(mu):
        found = ufm.minimise(build(float(mu)), key=case.key, progress=False)
        length = np.linalg.norm(np.asarray(found.params.features), axis=0).max()
        return case.parameters["tau"] - length

    return float(bisect(shorter, low, high, steps=42))


LENGTHS = (
    _case("short", _INSIDE, 1.2),
    _case("pinned", _INSIDE, 0.4),
    _case("long", _INSIDE, 0.02),
    _case("the end where it begins to be short", _BOUNDARY, "high"),
    _case("the end where it begins to be long", _BOUNDARY, "low"),
    _case("directions that are not the rows'", _OUTSIDE, 1.2, off=0.5),
)


@check(
    key="wang2023/norm-and-direction",
    formula=(
        r"h = re_y,\quad \mu r = f(r)+\tfrac\gamma\tau\ (r<\tau),\quad r = \tau\ "
        r"(f(\tau)\le\mu\tau\le f(\tau)+\tfrac\gamma\tau),\quad "
        r"\mu r = f(r)\ (r>\tau),\quad f(r) = \tfrac{\kappa(K-1)}{K-1+e^{\kappa r}}"
    ),
    source="derived, of the loss of Wang et al. 2023",
    regime=regime,
    cases=LENGTHS,
)
def norm_and_direction(case: Case):
    """The loss lengthens features up to the teacher's length alone: they end below it, at it
    exactly for an interval of decays, or beyond it, where the loss says nothing of length.

    Up to τ the problem is convex and certified. Beyond, the direction term is at least 0, and the
    problem without it is certified.
    """
    fixed, p = _fixed(case), case.parameters
    r, tau = fixed.length(), p["tau"]
    K = len(p["class_counts"])
    short = Point.of(solve(case))
    least = short.value + constant(case.problem, p["gamma"])
    yield short.certificate_claim()
    plain = without_direction(case, p["mu"])
    beyond = Point.of(ufm.minimise(plain, key=case.key, progress=False))
    longest = float(np.linalg.norm(beyond.features, axis=0).max())
    best = short
    if r > tau:
        best = beyond
        yield best.certificate_claim()
        yield Claim("beyond is lower", best.value < least, 1.0, EXACT, witness=True)
        least = best.value
    else:
        # a convex function of the length that is least below τ grows beyond
        over = max(longest - tau, 0.0)
        yield Claim("nothing beyond is lower", over, 0.0, EXACT, scale=tau, witness=True)
    directions = rows(K, 1.0, p["dim"]) + p["off"] * np.roll(rows(K, 1.0, p["dim"]), 1, axis=0)
    directions = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    q = np.asarray(case.problem.labels.targets)
    predicted = r * rows(K, 1.0, p["dim"]).T @ q
    # on the boundary the ball's multiplier vanishes with its constraint
    tolerance = precision(case)
    yield Claim("features", best.features, predicted, tolerance, scale=r)
    lengths = np.linalg.norm(best.features, axis=0)
    yield Claim("length", lengths, np.full(len(lengths), r), tolerance, scale=r)
    yield Claim("value", least, fixed.value(r), VALUE, scale=fixed.value(r))
    written = objective(
        best.params, case.problem, mu=p["mu"], gamma=p["gamma"], tau=tau, directions=directions
    )
    yield Claim("as it is written", written, least, VALUE, scale=least, witness=True)
    yield Record("length", {name: np.array([x]) for name, x in _reach(best, r).items()})
    low, high = fixed.pinned
    if case.id == "short":
        wide = {**p, "domain": "real"}
        end = _leaves(case, lambda mu: pulled(**{**wide, "mu": mu}), (low + high) / 2, 2 * high)
        yield Claim("μ that ends the interval", end, high, EXACT, scale=high)
    if case.id == "long":
        begin = _leaves(case, lambda mu: without_direction(case, mu), low / 2, (low + high) / 2)
        yield Claim("μ that begins the interval", begin, low, EXACT, scale=low)


def _reach(point: Point, law: float) -> dict[str, float]:
    """The length that is found, and how far from it the convex bound leaves the least one: a gap
    is at least half the decay times the square of a column's distance."""
    length = float(np.linalg.norm(point.features, axis=0).max())
    certificate = ufm.certify(point.problem, point.params)
    gap = max(float(certificate.value) - float(certificate.lower_bound), 0.0)
    reach = float(np.sqrt(2 * gap / float(point.problem.feature_decay)))
    return {"law": law, "found": length, "reach": reach}


# a classifier that is learned
# ----------------------------------------------------------------------


def coupled(K: int, *, mu, gamma, tau, lambda_W) -> tuple[float, float]:
    """ω and r with aωq + γ/τ = μ r, a r q = λ_W K ω, q = (K − 1)/(K − 1 + e^{aωr}), a = K/(K−1)."""
    a = K / (K - 1)

    def wrong(r, omega):
        return (K - 1) / (K - 1 + np.exp(min(a * omega * r, 700.0)))

    def classifier(r):
        return float(
            bisect(lambda w: lambda_W * K * w - a * r * wrong(r, w), 0.0, a * r / lambda_W)
        )

    def excess(r):
        omega = classifier(float(r))
        return mu * r - a * omega * wrong(float(r), omega) - gamma / tau

    # (from the largest root down: the excess is positive beyond it)
    r = float(bisect(excess, gamma / (tau * mu), 1e3))
    return classifier(r), r


def _learned(
    name,
    setting,
    *,
    mu=1.2,
    lambda_W=0.02,
    gamma=1.0,
    tau=1.5,
    counts=(2,) * 4,
    off=0.0,
    full=False,
):
    parameters = {"class_counts": counts, "m": 1.0, "mu": mu, "gamma": gamma, "tau": tau}
    parameters |= {"dim": 4, "off": off, "domain": "real", "free": lambda_W}
    return Case(name, setting, parameters, build=pulled, starts=4, full=full)


def learned_regime(case: Case) -> Setting:
    """Equal counts, the teacher's directions a simplex ETF, r < τ."""
    p = case.parameters
    K = len(p["class_counts"])
    _, r = coupled(K, mu=p["mu"], gamma=p["gamma"], tau=p["tau"], lambda_W=p["free"])
    return Setting.all_of(
        len(set(p["class_counts"])) == 1, p["off"] == 0, Setting.below(r, p["tau"])
    )


@check(
    key="wang2023/learned-classifier",
    formula=(
        r"h_k = re_k,\quad W = \omega E^\top,\quad a\omega q+\tfrac\gamma\tau = \mu r,\quad arq = "
        r"\lambda_WK\omega,\quad q = \tfrac{K-1}{K-1+e^{a\omega r}},\quad a = \tfrac K{K-1}"
    ),
    source="derived, of the loss of Wang et al. 2023",
    regime=learned_regime,
    cases=(
        _learned("λ_W=0.02", _INSIDE),
        _learned("λ_W=0.5", _INSIDE, lambda_W=0.5),
        _learned("unequal counts", _OUTSIDE, counts=(5, 1, 1, 1)),
        _learned("directions that are no ETF", _OUTSIDE, off=0.5, full=True),
    ),
)
def learned_classifier(case: Case):
    """Below the teacher's length a learned classifier and the features share the teacher's simplex,
    never zero however strong the decay."""
    point, p = Point.of(solve(case)), case.parameters
    K = len(p["class_counts"])
    omega, r = coupled(K, mu=p["mu"], gamma=p["gamma"], tau=p["tau"], lambda_W=p["free"])
    yield point.certificate_claim()
    E, q = rows(K, 1.0, p["dim"]), np.asarray(case.problem.labels.targets)
    yield Claim("features", point.features, r * E.T @ q, EXACT, scale=r)
    yield Claim("classifier", point.classifier, omega * E, EXACT, scale=omega)
    a = K / (K - 1)
    value = float(np.log1p((K - 1) * np.exp(-a * omega * r))) + p["gamma"] * (1 - r / p["tau"])
    value += p["mu"] / 2 * r**2 + p["free"] / 2 * K * omega**2
    found = point.value + constant(case.problem, p["gamma"])
    yield Claim("value", found, value, VALUE, scale=value)
