"""The reduced model on the sphere, and what a residual chain pays to reach its optimum."""

from __future__ import annotations

import numpy as np

import ufm
from theory_checks.engine.measure import GEOMETRY, VALUE, Point, solve
from theory_checks.engine.registry import Case, Claim, Setting, check
from theory_checks.formulas.frames import contrast
from theory_checks.formulas.roots import bisect

_INSIDE, _OUTSIDE = Setting.INSIDE, Setting.OUTSIDE


def _case(loss, K: int, d: int, lam: float, setting: Setting = _INSIDE, *, counts=None, full=False):
    parameters = {"counts": counts or (2,) * K, "d": d, "lam": lam, "loss": loss}
    name = f"K = {K}, d = {d}, λ = {lam:g}" + (", unequal counts" if counts else "")
    return Case(name, setting, parameters, build=_build, full=full)


def _build(*, counts, d, lam, loss) -> ufm.Problem:
    losses = {"squared": ufm.MeanSquaredError, "entropy": ufm.CrossEntropy}
    return ufm.Problem(
        ufm.one_hot(counts),
        loss=losses[loss](),
        widths=(d - 1,),
        lambda_W=lam,
        lambda_H=0.0,
        features=ufm.domains.Sphere(1.0),
    )


def _regime(case: Case, room: int) -> Setting:
    p = case.parameters
    return Setting.all_of(len(set(p["counts"])) == 1, p["d"] - 1 >= len(p["counts"]) - room)


def squared_regime(case: Case) -> Setting:
    """Squared error, equal class counts, features of mean zero on the sphere, d − 1 >= K."""
    return _regime(case, 0)


@check(
    key="sukenik2025/squared-error",
    formula=r"\min = \frac{K\lambda}{2(1+K\lambda)},\quad \bar H^\top\bar H = I,\quad"
    r" W = \bar H^\top/(1+K\lambda)",
    source="derived here; collapse by Súkeník et al. 2025 (abstract)",
    regime=squared_regime,
    cases=(
        _case("squared", 4, 6, 0.02),
        _case("squared", 4, 6, 2.0),
        _case("squared", 4, 5, 0.02, full=True),
        _case("squared", 4, 4, 0.02, _OUTSIDE),
        _case("squared", 4, 6, 0.02, _OUTSIDE, counts=(4, 2, 1, 1), full=True),
    ),
)
def squared_error(case: Case):
    """With decay on W alone and features on the sphere the optimum under squared error is collapsed
    with orthonormal class means, at every decay: there is no zero phase."""
    point, p = Point.of(solve(case)), case.parameters
    K, lam = len(p["counts"]), p["lam"]
    if squared_regime(case) is _INSIDE:
        yield point.certificate_claim()
    yield point.value_claim(K * lam / (2 * (1 + K * lam)))
    gram = point.class_means.T @ point.class_means
    yield Claim("Gram of class means", gram, np.eye(K), GEOMETRY)
    logits = np.asarray(point.logits)
    targets = np.asarray(case.problem.labels.targets)
    yield Claim("logits", logits, targets / (1 + K * lam), GEOMETRY)


def entropy_regime(case: Case) -> Setting:
    """Cross-entropy, equal class counts, features of mean zero on the sphere, d − 1 >= K − 1."""
    return _regime(case, 1)


def margin_of(K: int, lam: float) -> float:
    r"""The root α of $1/(K-1+e^\alpha) = \lambda\alpha(K-1)/K$."""
    return float(bisect(lambda a: lam * a * (K - 1) / K - 1 / (K - 1 + np.exp(a)), 0.0, 700.0))


@check(
    key="sukenik2025/cross-entropy",
    formula=r"\min = \log\big(1+(K-1)e^{-\alpha}\big)+\tfrac\lambda2\alpha^2\tfrac{(K-1)^2}K,\quad"
    r"\tfrac1{K-1+e^\alpha} = \lambda\alpha\tfrac{K-1}K",
    source="derived here; collapse by Súkeník et al. 2025 (abstract)",
    regime=entropy_regime,
    cases=(
        _case("entropy", 4, 6, 0.02),
        _case("entropy", 4, 6, 0.3),
        _case("entropy", 7, 9, 0.3, full=True),
        _case("entropy", 4, 4, 0.02, full=True),
        _case("entropy", 4, 3, 0.02, _OUTSIDE),
        _case("entropy", 4, 6, 0.02, _OUTSIDE, counts=(4, 2, 1, 1), full=True),
    ),
)
def cross_entropy(case: Case):
    """With decay on W alone and features on the sphere the optimum under cross-entropy is a
    simplex, of the one scale that solves a scalar equation."""
    point, p = Point.of(solve(case)), case.parameters
    K, lam = len(p["counts"]), p["lam"]
    alpha = margin_of(K, lam)
    if entropy_regime(case) is _INSIDE:
        yield point.certificate_claim()
    value = np.log1p((K - 1) * np.exp(-alpha)) + lam / 2 * alpha**2 * (K - 1) ** 2 / K
    yield point.value_claim(value)
    gram = point.class_means.T @ point.class_means
    yield Claim("Gram of class means", gram, K / (K - 1) * contrast(K), GEOMETRY)


def chain_cost(a: np.ndarray, L: int, matrices: int) -> float:
    """What the chain pays for eigenvalues a, in units of ½ ‖·‖² summed over all matrices."""
    moved = np.expm1(np.log(a) / L)
    return float(np.sum(L * moved**2) / 2 if matrices == 1 else np.sum(L * np.abs(moved)))


def built_cost(a: np.ndarray, L: int, matrices: int) -> tuple[float, float]:
    """The same from the matrices themselves, and how far their product is from A."""
    rng = np.random.default_rng(0)
    Q = np.linalg.qr(rng.standard_normal((len(a), len(a))))[0]
    step = (Q * np.expm1(np.log(a) / L)) @ Q.T
    product = np.eye(len(a))
    for _ in range(L):
        product = product + step @ product
    values, left = np.linalg.eigh(step)
    halves = [(left * np.sign(values) * np.sqrt(np.abs(values))), left * np.sqrt(np.abs(values))]
    assert np.allclose(halves[0] @ halves[1].T, step)
    used = [step] if matrices == 1 else halves
    cost = L / 2 * sum(float(np.sum(half**2)) for half in used)
    return cost, float(np.max(np.abs(product - (Q * a) @ Q.T)))


def _chain_case(matrices: int, setting: Setting, *, a=(4.0, 0.5, 1.5)) -> Case:
    words = "one matrix a block" if matrices == 1 else "two matrices a block"
    return Case(words, setting, {"matrices": matrices, "a": a}, build=dict)


def chain_regime(case: Case) -> Setting:
    """One matrix a block, A symmetric and positive."""
    return Setting.all_of(case.parameters["matrices"] == 1)


@check(
    key="sukenik2025/free-motion",
    formula=r"\tfrac12\sum_l\|W_l\|^2 = \tfrac L2\sum_i(a_i^{1/L}-1)^2 ="
    r"\tfrac1{2L}\sum_i\log^2 a_i + O(L^{-2})",
    source="derived here",
    regime=chain_regime,
    cases=(_chain_case(1, _INSIDE), _chain_case(2, _OUTSIDE)),
)
def free_motion(case: Case):
    """A residual chain of one matrix a block moves features at a cost that vanishes like 1/L, so
    that under constant decay only the head is left to pay for.

    Two matrices a block pay Σ |log a| however deep the chain is, which vanishes under no constant
    decay.
    """
    p = case.parameters
    a, matrices = np.array(p["a"]), p["matrices"]
    for L in (3, 40):
        cost, missed = built_cost(a, L, matrices)
        formula = chain_cost(a, L, matrices)
        yield Claim(f"cost at L = {L}", cost, formula, VALUE, scale=formula, witness=True)
        yield Claim(f"product at L = {L}", missed, 0.0, VALUE, witness=True)
    depths = np.array([1e5, 1e6])
    costs = np.array([chain_cost(a, int(L), matrices) for L in depths])
    rate = float(np.log(costs[1] / costs[0]) / np.log(depths[1] / depths[0]))
    yield Claim("exponent of L", rate, -1.0, 5e-6)
    limit = np.sum(np.log(a) ** 2) / 2 if matrices == 1 else np.sum(np.abs(np.log(a)))
    scaled = costs[1] * (depths[1] if matrices == 1 else 1)
    yield Claim("limit", scaled, limit, 3e-6, scale=limit, witness=True)
