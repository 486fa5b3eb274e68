"""What a careful user writes without this library.

Squared error with its gradient in NumPy, under scipy's solvers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.integrate
import scipy.optimize


@dataclass(frozen=True)
class BalancedSquaredError:
    r"""$\frac1{2N}\|WH - Y\|^2 + \frac{\lambda_W}2\|W\|^2 + \frac{\lambda_H}2\|H\|^2$ over x = (W,
    H) flattened, full or collapsed columns.

    By hand for columns of equal mass: three matrix products an evaluation, scalars in place of mass
    vectors, gradients written in place.
    """

    num_classes: int
    per_class: int
    feature_dim: int
    decay: float
    collapsed: bool

    @property
    def targets(self) -> np.ndarray:
        return np.repeat(np.eye(self.num_classes), 1 if self.collapsed else self.per_class, axis=1)

    @property
    def mass(self) -> float:
        return float(self.per_class) if self.collapsed else 1.0

    def split(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        at = self.num_classes * self.feature_dim
        return x[:at].reshape(self.num_classes, self.feature_dim), x[at:].reshape(
            self.feature_dim, -1
        )

    def value_and_gradient(self):
        """The function for scipy, with its constants bound."""
        Y, m, decay = self.targets, self.mass, self.decay
        weight = m / (self.num_classes * self.per_class)
        at = self.num_classes * self.feature_dim

        def evaluate(x):
            W, H = self.split(x)
            residual = W @ H
            residual -= Y
            w, h = x[:at], x[at:]
            value = 0.5 * (weight * np.vdot(residual, residual) + decay * (w @ w + m * (h @ h)))
            residual *= weight
            gradient = np.empty_like(x)
            np.multiply(w, decay, out=gradient[:at])
            np.multiply(h, decay * m, out=gradient[at:])
            in_W, in_H = self.split(gradient)
            in_W += residual @ H.T
            in_H += W.T @ residual
            return value, gradient

        return evaluate

    def gram_error(self, W: np.ndarray, H: np.ndarray) -> float:
        """Worst relative error of W Wᵀ and Hᵀ H against the closed form for d >= K, multiples of
        the identity on the classes."""
        c0 = self.num_classes * np.sqrt(self.per_class) * self.decay
        feature_sq = (1 - c0) / np.sqrt(self.per_class)
        weight_sq = np.sqrt(self.per_class) * (1 - c0)
        Y = self.targets
        return max(
            _relative(W @ W.T, weight_sq * np.eye(self.num_classes)),
            _relative(H.T @ H, feature_sq * (Y.T @ Y)),
        )


def iterations_to(problem: BalancedSquaredError, x0: np.ndarray, accuracy: float) -> int:
    """Iterations that L-BFGS-B needs from x0 to this Gram error.

    Found once with a callback, so that the timed run carries none.
    """
    iterations = 0

    def callback(intermediate_result):
        nonlocal iterations
        iterations += 1
        if problem.gram_error(*problem.split(intermediate_result.x)) <= accuracy:
            raise StopIteration

    x = lbfgs(problem, x0, 10_000, callback=callback).x
    error = problem.gram_error(*problem.split(x))
    if error > accuracy:
        raise RuntimeError(
            f"L-BFGS-B stopped at Gram error {error:.1e} after {iterations} iterations, short of "
            f"{accuracy:g}"
        )
    return iterations


def lbfgs(problem: BalancedSquaredError, x0: np.ndarray, iterations: int, callback=None):
    """scipy's L-BFGS-B with its own memory of 10 and no stopping rule but the budget."""
    options = {"maxiter": iterations, "maxfun": 10 * iterations, "ftol": 0.0, "gtol": 0.0}
    return scipy.optimize.minimize(
        problem.value_and_gradient(),
        x0,
        jac=True,
        method="L-BFGS-B",
        callback=callback,
        options=options,
    )


def flow(
    problem: BalancedSquaredError, x0: np.ndarray, ts: np.ndarray, *, rtol: float, atol: float
) -> np.ndarray:
    """Gradient flow in which a collapsed column moves as each of its samples does, by DOP853, row
    by row at the times `ts`."""
    evaluate = problem.value_and_gradient()
    at = problem.num_classes * problem.feature_dim

    def velocity(_, x):
        gradient = evaluate(x)[1]
        gradient[at:] /= problem.mass
        return -gradient

    run = scipy.integrate.solve_ivp(
        velocity, (0.0, float(ts[-1])), x0, method="DOP853", t_eval=ts, rtol=rtol, atol=atol
    )
    if not run.success:
        raise RuntimeError(run.message)
    return run.y.T


def _relative(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))
