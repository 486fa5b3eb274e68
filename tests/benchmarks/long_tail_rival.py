"""What a careful user writes for long-tailed cross-entropy.

NumPy under scipy's L-BFGS-B, or the nuclear-norm form in cvxpy.
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.optimize


@dataclass(frozen=True)
class LongTailCrossEntropy:
    r"""$\sum_k\frac{n_k}N\mathrm{CE}(Wh_k, k) + \frac\lambda2(\|W\|^2 + \sum_k n_k\|h_k\|^2)$, one
    column a class, no bias.

    `scaled`: over $x = (W, h_k\sqrt{n_k})$, the variables in which the decay is round; else over $x
    = (W, H)$.
    """

    counts: tuple[int, ...]
    feature_dim: int
    decay: float
    scaled: bool = True
    root: np.ndarray = field(init=False, repr=False, compare=False)

    def __post_init__(self):
        object.__setattr__(self, "root", np.sqrt(np.asarray(self.counts, dtype=float)))

    @property
    def K(self) -> int:
        return len(self.counts)

    @property
    def stretch(self) -> np.ndarray:
        """Features are the second part of x divided by this."""
        return self.root if self.scaled else np.ones(self.K)

    def flat(self, W: np.ndarray, H: np.ndarray) -> np.ndarray:
        return np.concatenate([np.ravel(W), np.ravel(H * self.stretch)])

    def split(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        at = self.K * self.feature_dim
        return x[:at].reshape(self.K, self.feature_dim), x[at:].reshape(self.feature_dim, self.K)

    def value_and_gradient(self):
        """The function for scipy, with its constants bound."""
        K, decay, stretch = self.K, self.decay, self.stretch
        masses = self.root**2 / stretch**2
        weights = self.root**2 / np.sum(self.root**2)
        at, own = K * self.feature_dim, np.arange(K)

        def evaluate(x):
            W, V = self.split(x)
            Z = W @ V
            Z /= stretch
            Z -= Z.max(axis=0)
            own_logits = Z[own, own]
            np.exp(Z, out=Z)
            sums = Z.sum(axis=0)
            in_V = V * (masses * decay)
            value = weights @ (np.log(sums) - own_logits) + 0.5 * (
                decay * (x[:at] @ x[:at]) + np.vdot(V, in_V)
            )
            Z *= weights / (sums * stretch)
            Z[own, own] -= weights / stretch
            gradient = np.empty_like(x)
            np.multiply(x[:at], decay, out=gradient[:at])
            to_W, to_V = self.split(gradient)
            to_W += Z @ V.T
            np.matmul(W.T, Z, out=to_V)
            to_V += in_V
            return value, gradient

        return evaluate

    def gap(self, x: np.ndarray) -> float:
        """Relative duality gap at x, written without our library."""
        W, V = self.split(x)
        Z = W @ V / self.stretch
        Z -= Z.max(axis=0)
        P = np.exp(Z)
        P /= P.sum(axis=0)
        weights = self.root**2 / np.sum(self.root**2)
        dual = P - np.eye(self.K)
        t = min(1.0, self.decay / np.linalg.norm(dual * (weights / self.root), 2))
        Q = np.eye(self.K) + t * dual
        entropy = -np.sum(Q * np.log(np.maximum(Q, np.finfo(float).tiny)), axis=0)
        value = self.value_and_gradient()(x)[0]
        return float((value - weights @ entropy) / value)


def lbfgs(
    rival: LongTailCrossEntropy, x0: np.ndarray, iterations: int, *, memory: int = 10, callback=None
):
    """scipy's L-BFGS-B with no stopping rule but the budget."""
    options = {
        "maxiter": iterations,
        "maxfun": 10 * iterations,
        "ftol": 0.0,
        "gtol": 0.0,
        "maxcor": memory,
    }
    return scipy.optimize.minimize(
        rival.value_and_gradient(),
        x0,
        jac=True,
        method="L-BFGS-B",
        callback=callback,
        options=options,
    )


def budget_for(
    rival: LongTailCrossEntropy, x0: np.ndarray, accuracy: float, *, limit: int = 20_000, **options
) -> tuple[int, float]:
    """Iterations to the first gap <= accuracy, and that gap.

    Where it is never reached, those of the smallest gap seen.

    Found once with a callback, so that the timed run carries none.
    """
    done, best, at = 0, np.inf, 0

    def callback(intermediate_result):
        nonlocal done, best, at
        done += 1
        gap = rival.gap(intermediate_result.x)
        if gap < best:
            best, at = gap, done
        if gap <= accuracy:
            raise StopIteration

    lbfgs(rival, x0, limit, callback=callback, **options)
    return at, float(best)


def has_cvxpy() -> bool:
    return importlib.util.find_spec("cvxpy") is not None


def nuclear_norm_form(rival: LongTailCrossEntropy):
    """The convex form in $WH\\,\\mathrm{diag}(\\sqrt n)$ for cvxpy with Clarabel.

    The call returns the value. Built and compiled once.
    """
    cvxpy: Any = importlib.import_module("cvxpy")
    weights = rival.root**2 / np.sum(rival.root**2)
    product = cvxpy.Variable((rival.K, rival.K))
    logits = product @ np.diag(1 / rival.root)
    loss = weights @ cvxpy.log_sum_exp(logits, axis=0) - weights @ cvxpy.diag(logits)
    problem = cvxpy.Problem(cvxpy.Minimize(loss + rival.decay * cvxpy.normNuc(product)))
    options = {"tol_gap_abs": 1e-9, "tol_gap_rel": 1e-9, "tol_feas": 1e-9}

    def solve() -> float:
        return float(problem.solve(solver="CLARABEL", **options))

    return solve
