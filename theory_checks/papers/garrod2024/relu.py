r"""ReLU layers under cross-entropy: pairs of classes against the simplex, with a cheaper embedding.

Their construction carries the pairs and the direction of ones, which ReLU needs to keep features
nonnegative, at a ratio of K/2 of singular values. √(K/2) is enough (derived here): the columns of a
Hadamard matrix give nonnegative vectors with Gram matrix $X^\top X + J$ for the q = K/2 pairs X.
With every ratio balanced, logits $\beta X^\top X$ cost
$\tfrac{\lambda(L+1)}2\big(4q\beta^2(q+\omega)^2(q+1)^{L-2}\big)^{1/(L+1)}$, ω = √q here and q in
theirs; the simplex $\alpha(I-J/K)$ behind linear layers $\tfrac{\lambda(L+1)}2(K-1)
\alpha^{2/(L+1)}$, and no less behind ReLU layers by their assumption. At equal scales the loss of
the pairs is lower, so they win at every decay where $4q(q+\omega)^2(q+1)^{L-2} < (K-1)^{L+1}$.
"""

from __future__ import annotations

import itertools

import numpy as np

from theory_checks.engine.measure import VALUE
from theory_checks.engine.registry import Case, Claim, Setting, check

_INSIDE, _OUTSIDE = Setting.INSIDE, Setting.OUTSIDE
_DECAYS = (1e-5, 1e-4)
# the least even K of the theorem, and of the cheaper embedding, by L
THEIRS = {4: 14, 5: 10}
LEAST = {2: 22, 3: 10, 4: 8, 5: 8, 6: 6}


def cheaper(K: int, L: int, omega: float) -> bool:
    """Whether pairs at this ratio of the ones are cheaper than the simplex at equal scales."""
    q = K / 2
    return bool(4 * q * (q + omega) ** 2 * (q + 1) ** (L - 2) < (K - 1) ** (L + 1))


def pair_cost(K: int, L: int, beta: float) -> float:
    """The squared norm of each of the L + 1 factors."""
    q = K / 2
    total = 4 * q * beta**2 * (q + np.sqrt(q)) ** 2 * (q + 1) ** (L - 2)
    return float(total ** (1 / (L + 1)))


def hadamard_pairs(q: int) -> np.ndarray:
    """Nonnegative columns, two a pair, with Gram matrix XᵀX + J: halves of a set, and their
    complements."""
    signs = np.ones((1, 1))
    while len(signs) < q + 1:
        signs = np.block([[signs, signs], [signs, -signs]])
    signs = signs[1 : q + 1].T
    both = np.stack([1 + signs, 1 - signs], axis=2).reshape(len(signs), 2 * q)
    return both / np.sqrt(len(signs))


def network(K: int, L: int, beta: float) -> list[np.ndarray]:
    """H, W_1, …, W_L with logits β XᵀX and equal squared norms."""
    q, T = K // 2, pair_cost(K, L, beta)
    E = hadamard_pairs(q)
    X = E - E.mean(axis=1, keepdims=True)
    # s_2 of the first nonnegative layer; E has singular values √2 (q times) and √2 √q
    sizes = T / (q + np.sqrt(q)) * (T / (q + 1)) ** (np.arange(L - 1) / 2)
    layers = [size / np.sqrt(2) * E for size in sizes]
    U, values, rows = np.linalg.svd(layers[0], full_matrices=False)
    keep = values > 1e-10 * values[0]
    root = np.sqrt(values[keep])
    factors = [root[:, None] * rows[keep], U[:, keep] * root[None]]
    factors += [after @ np.linalg.pinv(before) for before, after in itertools.pairwise(layers)]
    return [*factors, beta * X.T @ X @ np.linalg.pinv(layers[-1])]


def objective(factors: list[np.ndarray], lam: float) -> float:
    """The objective of H, W_1, …, W_L, one sample a class and equal decays, in plain NumPy."""
    entering, *inner, last = factors
    for W in inner:
        entering = np.maximum(W @ entering, 0)
    Z = last @ entering
    others = np.exp(Z - np.diag(Z))
    losses = np.log1p(np.sum(others - np.diag(np.diag(others)), axis=0))
    return float(np.mean(losses) + lam / 2 * sum(np.sum(factor**2) for factor in factors))


def _least(value) -> tuple[float, float]:
    """The least value over scales, and its scale, by narrowing a grid."""
    grid, values = np.geomspace(1e-3, 100, 4001), []
    for _ in range(4):
        values = [value(x) for x in grid]
        at = int(np.argmin(values))
        grid = np.linspace(grid[max(at - 1, 0)], grid[min(at + 1, len(grid) - 1)], 201)
    return float(min(values)), float(grid[100])


def pair_value(K: int, L: int, lam: float, beta: float) -> float:
    """The objective at the pairs, one sample a class and equal decays."""
    loss = np.log1p((K - 2) * np.exp(-beta) + np.exp(-2 * beta))
    return float(loss + lam * (L + 1) / 2 * pair_cost(K, L, beta))


def simplex_value(K: int, L: int, lam: float, alpha: float) -> float:
    """The objective at the simplex behind linear layers."""
    loss = np.log1p((K - 1) * np.exp(-alpha))
    return float(loss + lam * (L + 1) / 2 * (K - 1) * alpha ** (2 / (L + 1)))


def _case(K: int, L: int, lam: float, setting: Setting = _INSIDE) -> Case:
    name = f"K = {K}, L = {L}, λ = {lam:g}"
    return Case(name, setting, {"K": K, "L": L, "lam": lam}, build=dict)


def regime(case: Case) -> Setting:
    """An even number of equal classes, at least 22, 10, 8, 8 for L = 2, 3, 4, 5 and 6 from L = 6
    on; widths at least twice K; weak decay."""
    K, L = case.parameters["K"], case.parameters["L"]
    return Setting.all_of(K % 2 == 0, L >= 2, LEAST.get(L, 6) <= K, case.parameters["lam"] <= 1e-3)


@check(
    key="garrod2024/relu-thresholds",
    formula=r"4q(q+\sqrt q)^2(q+1)^{L-2} < (2q-1)^{L+1},\ q = K/2\ \Rightarrow\ "
    r"F < F_{\mathrm{DNC}}",
    source="ours; Theorem 7 of Garrod & Keating 2025 has K >= 14 (L = 4) and K >= 10 (L = 5)",
    regime=regime,
    cases=(
        *(_case(K, L, lam) for L, K in LEAST.items() for lam in _DECAYS),
        _case(14, 4, _DECAYS[0]),
        _case(10, 5, _DECAYS[0]),
        *(_case(K - 2, L, _DECAYS[0], _OUTSIDE) for L, K in LEAST.items()),
    ),
)
def relu_thresholds(case: Case):
    """Behind ReLU layers under cross-entropy the simplex is beaten by pairs of classes from fewer
    classes and layers on than was stated: from K = 8 with four matrices, from K = 22 with two.

    What is compared is, as in the paper, the simplex behind linear layers. Outside the pairs are
    dearer, which leaves open what is optimal.
    """
    K, L, lam = (case.parameters[name] for name in ("K", "L", "lam"))
    pairs, beta = _least(lambda x: pair_value(K, L, lam, x))
    simplex, _ = _least(lambda x: simplex_value(K, L, lam, x))
    measured = objective(network(K, L, beta), lam)
    yield Claim("objective at the pairs", measured, pairs, VALUE, scale=pairs, witness=True)
    yield Claim("lower than the simplex", float(measured < simplex * (1 - 1e-9)), 1.0, VALUE)
    theirs = THEIRS.get(L)
    if theirs is not None:
        # their thresholds from their ratio of singular values
        found = next(number for number in range(4, 100, 2) if cheaper(number, L, number / 2))
        yield Claim("their threshold", float(found), float(theirs), VALUE, witness=True)
