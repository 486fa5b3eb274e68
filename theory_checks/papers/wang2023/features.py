"""Feature norm and direction: a length that the teacher's pins, and a pull that is an anchor."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

import ufm
from theory_checks.engine.measure import GEOMETRY, VALUE, Point, solve
from theory_checks.engine.registry import Case, Claim, Setting, check
from theory_checks.formulas.roots import bisect

_INSIDE, _BOUNDARY, _OUTSIDE = Setting.INSIDE, Setting.BOUNDARY, Setting.OUTSIDE
# what the pull to the anchor takes of the decay; any positive part of it will do
_SHARE = 0.5


@dataclasses.dataclass(frozen=True)
class Fixed:
    """Features of a fixed simplex ETF with rows of length m: K, m, μ per sample, γ, τ."""

    K: int
    m: float
    mu: float
    gamma: float
    tau: float

    @property
    def kappa(self) -> float:
        """What a feature r e_y adds to its own logit over the others, per unit of length."""
        return self.m * self.K / (self.K - 1)

    def slope(self, r: float) -> float:
        """f(r): how fast cross-entropy falls with the length."""
        return self.kappa * (self.K - 1) / (self.K - 1 + np.exp(np.minimum(self.kappa * r, 700)))

    def length(self) -> float:
        """r: short, pinned at τ, or long."""
        short = self.root(self.gamma / self.tau)
        return short if short < self.tau else max(self.tau, self.root(0.0))

    def root(self, pull: float) -> float:
        """μ r = f(r) + pull."""
        return float(bisect(lambda r: self.mu * r - self.slope(r) - pull, 0.0, 1e6))

    def value(self, r: float) -> float:
        """The objective at r e_y, cos = 1 beyond τ."""
        direction = self.gamma * (1 - min(r, self.tau) / self.tau)
        return (
            float(np.log1p((self.K - 1) * np.exp(-self.kappa * r)))
            + direction
            + (self.mu * r**2 / 2)
        )

    @property
    def pinned(self) -> tuple[float, float]:
        """The ends of the interval of μ in which the length is τ exactly."""
        low = self.slope(self.tau) / self.tau
        return low, low + self.gamma / self.tau**2


def rows(K: int, m: float, dim: int) -> np.ndarray:
    """A simplex ETF with rows of length m (K, d)."""
    return np.asarray(ufm.simplex_etf(K, multiplier=m, dim=dim, key=jax.random.key(7))).T


def pulled(class_counts, *, m, mu, gamma, tau, dim, off=0.0, domain="ball", free=None):
    """What the loss is up to the length τ, less γ: an anchor, and part of the decay in its place.

    `domain` "real": without the bound on the length. `free`: λ_W of a classifier that is learned.
    """
    K, N = len(class_counts), sum(class_counts)
    E = rows(K, 1.0, dim)
    # directions that are not those of the rows: turned towards the next class
    E = E + off * np.roll(E, 1, axis=0)
    E = E / np.linalg.norm(E, axis=1, keepdims=True)
    labels = ufm.one_hot(class_counts)
    beta = _SHARE * mu / N
    anchor = gamma / (N * tau * beta) * E.T @ np.asarray(labels.targets)
    fixed = {"lambda_W": 0.0, "fixed_weights": (jnp.asarray(rows(K, m, dim)),)}
    return ufm.Problem(
        labels,
        loss=ufm.CrossEntropy(),
        widths=(dim,),
        lambda_H=mu / N - beta,
        anchor=jnp.asarray(anchor),
        beta=beta,
        features=ufm.domains.Ball(tau) if domain == "ball" else ufm.domains.Real(),
        **(fixed if free is None else {"lambda_W": free}),
    )


def constant(problem: ufm.Problem, gamma: float) -> float:
    """γ − β/2 ‖h⁰‖²: what the anchored objective leaves out."""
    h0, beta = np.asarray(problem.anchor), np.asarray(problem.beta)
    return gamma - float(beta) / 2 * float(np.sum(h0**2))


def objective(params: ufm.Params, problem: ufm.Problem, *, mu, gamma, tau, directions) -> float:
    """Cross-entropy, direction and decay as they are written, in NumPy, without any λ_W."""
    H, q = np.asarray(params.features), np.asarray(problem.labels.targets)
    Z = np.asarray(params.classifier) @ H
    loss = np.log(np.exp(Z - Z.max(axis=0)).sum(axis=0)) + Z.max(axis=0) - np.sum(q * Z, axis=0)
    lengths = np.linalg.norm(H, axis=0)
    cosine = np.sum(H * (directions.T @ q), axis=0) / np.maximum(lengths, tau)
    return float(np.mean(loss + gamma * (1 - cosine) + mu / 2 * lengths**2))


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


def _leaves(case: Case) -> float:
    """μ at which the length leaves τ, by bisection of what is measured in a wider ball."""
    low, high = _fixed(case).pinned
    wide = {**case.parameters, "domain": "real"}

    def shorter(mu):
        problem = pulled(**{**wide, "mu": float(mu)})
        found = ufm.minimise(problem, key=case.key, progress=False)
        length = np.linalg.norm(np.asarray(found.params.features), axis=0).max()
        return case.parameters["tau"] - length

    return float(bisect(shorter, (low + high) / 2, 2 * high, steps=30))


@check(
    key="wang2023/norm-and-direction",
    formula=(
        r"h = re_y,\quad \mu r = f(r)+\tfrac\gamma\tau\ (r<\tau),\quad r = \tau\ "
        r"(f(\tau)\le\mu\tau\le f(\tau)+\tfrac\gamma\tau),\quad "
        r"\mu r = f(r)\ (r>\tau),\quad f(r) = \tfrac{\kappa(K-1)}{K-1+e^{\kappa r}}"
    ),
    source="derived, of the loss of Wang et al. 2023",
    regime=regime,
    cases=(
        _case("short", _INSIDE, 1.2),
        _case("pinned", _INSIDE, 0.4),
        _case("long", _INSIDE, 0.02),
        _case("the end where it begins to be short", _BOUNDARY, "high"),
        _case("the end where it begins to be long", _BOUNDARY, "low"),
        _case("directions that are not the rows'", _OUTSIDE, 1.2, off=0.5),
    ),
)
def norm_and_direction(case: Case):
    """The loss lengthens features up to the teacher's length alone: they end below it, at it
    exactly for an interval of decays, or beyond it, where the loss says nothing of length.

    Up to τ the problem is convex and certified. Beyond, the direction term is at least 0, and the
    problem without it is certified.
    """
    fixed, p = _fixed(case), case.parameters
    r, tau = fixed.length(), p["tau"]
    K, N = len(p["class_counts"]), sum(p["class_counts"])
    short = Point.of(solve(case))
    least = short.value + constant(case.problem, p["gamma"])
    yield short.certificate_claim()
    plain = ufm.Problem(
        case.problem.labels,
        loss=ufm.CrossEntropy(),
        widths=case.problem.widths,
        lambda_W=0.0,
        lambda_H=p["mu"] / N,
        fixed_weights=case.problem.fixed_weights,
    )
    beyond = Point.of(ufm.minimise(plain, key=case.key, progress=False))
    longest = float(np.linalg.norm(beyond.features, axis=0).max())
    best = short
    if r > tau:
        best = beyond
        yield best.certificate_claim()
        yield Claim("beyond is lower", best.value < least, 1.0, GEOMETRY, witness=True)
        least = best.value
    else:
        # a convex function of the length that is least below τ grows beyond
        over = max(longest - tau, 0.0)
        yield Claim("nothing beyond is lower", over, 0.0, GEOMETRY, scale=tau, witness=True)
    directions = rows(K, 1.0, p["dim"]) + p["off"] * np.roll(rows(K, 1.0, p["dim"]), 1, axis=0)
    directions = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    q = np.asarray(case.problem.labels.targets)
    predicted = r * rows(K, 1.0, p["dim"]).T @ q
    yield Claim("features", best.features, predicted, GEOMETRY, scale=r)
    lengths = np.linalg.norm(best.features, axis=0)
    # on the boundary the ball's multiplier vanishes with its constraint
    tolerance = GEOMETRY if case.setting is _BOUNDARY else 1e-10
    yield Claim("length", lengths, np.full(len(lengths), r), tolerance, scale=r)
    yield Claim("value", least, fixed.value(r), VALUE, scale=fixed.value(r))
    written = objective(
        best.params, case.problem, mu=p["mu"], gamma=p["gamma"], tau=tau, directions=directions
    )
    yield Claim("as it is written", written, least, VALUE, scale=least, witness=True)
    if case.id == "short":
        end = fixed.pinned[1]
        yield Claim("μ that ends the interval", _leaves(case), end, GEOMETRY, scale=end)


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
    yield Claim("features", point.features, r * E.T @ q, GEOMETRY, scale=r)
    yield Claim("classifier", point.classifier, omega * E, GEOMETRY, scale=omega)
    a = K / (K - 1)
    value = float(np.log1p((K - 1) * np.exp(-a * omega * r))) + p["gamma"] * (1 - r / p["tau"])
    value += p["mu"] / 2 * r**2 + p["free"] / 2 * K * omega**2
    found = point.value + constant(case.problem, p["gamma"])
    yield Claim("value", found, value, VALUE, scale=value)
