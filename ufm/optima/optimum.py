"""What a closed form returns, and what it raises where there is none. NumPy float64 on the host."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ufm._classes.module import Displayed
from ufm.model import Problem
from ufm.optima.scalar import ScalarSolution, scalar_value
from ufm.tolerances import caveat

# Masses of the target closer than this are one degenerate block: singular values of a 1000 × 1000
# matrix carry errors of about 1e-13.
DEGENERATE = 1e-10


class NoClosedForm(ValueError):
    """No closed form is known for this problem.

    The message names the hypothesis that fails and what came instead.

    `form`: the nearest form, by name; None where nothing is near. `failing`: its hypotheses that
    fail.
    """

    def __init__(self, message: str, *, form: str | None = None, failing: tuple = ()):
        super().__init__(message)
        self.form, self.failing = form, failing


@dataclass(frozen=True, kw_only=True, eq=False)
class Spectrum:
    r"""The directions into which a squared-error problem decouples, most rewarding first, and every
    stationary point they make.

    `left` (K, J), `right` (C', J): singular vectors of the mass-weighted target that the product
    has to reach. `mu` (J,): squared singular values. `loss_weight` (J,): 1, and
    $\lambda_b/(1+\lambda_b)$ on the mean direction of a penalised bias. `loads` (J,): $t_j$;
    `collapse_load`, `existence_load`: $t_c$, $t_e$. `points`: stationary fractions of each
    direction. `fractions` (J,): those of the optimum, 0 beyond the rank limit. `rank_limit`: R.
    `cut`: (start, stop, active) of the degenerate block that the rank limit cuts, None without a
    tie; any projector of that rank inside the block is optimal. `masses` (C',), `decays` (M+1,): as
    the problem has them, outermost factor first, features last. `bias_at_zero` (K,),
    `mean_direction`: the best bias is $(1 - f_0)$ times the first, with $f_0$ the fraction of the
    second (None: it is the first).
    """

    left: np.ndarray
    right: np.ndarray
    mu: np.ndarray
    loss_weight: np.ndarray
    loads: np.ndarray
    collapse_load: float
    existence_load: float
    points: ScalarSolution
    fractions: np.ndarray
    rank_limit: int
    cut: tuple[int, int, int] | None
    masses: np.ndarray
    decays: np.ndarray
    bias_at_zero: np.ndarray | None
    mean_direction: int | None

    @property
    def depth(self) -> int:
        """M."""
        return len(self.decays) - 1

    @property
    def metastable(self) -> np.ndarray:
        r"""(J,): $t_c \le t_j < t_e$, a nonzero local minimum above the value of giving the
        direction up."""
        return self.points.metastable

    @property
    def boundary(self) -> np.ndarray:
        r"""(J,): $t_j = t_c$ up to rounding and M >= 2, so that giving the direction up is as good
        as `fractions`."""
        return self.points.boundary

    @property
    def active(self) -> np.ndarray:
        """(J,): which directions the optimum uses."""
        return self.fractions > 0

    @cached_property
    def blocks(self) -> tuple[slice, ...]:
        """Maximal runs of equal mass and loss weight: inside one, singular vectors are free."""
        same = np.isclose(self.mu[1:], self.mu[:-1], rtol=DEGENERATE, atol=0) & (
            self.loss_weight[1:] == self.loss_weight[:-1]
        )
        edges = [0, *(np.flatnonzero(~same) + 1).tolist(), len(self.mu)]
        return tuple(
            slice(start, stop) for start, stop in itertools.pairwise(edges) if stop > start
        )

    def value(self, fractions) -> float:
        """The objective where each direction is reached up to its fraction by balanced factors,
        stationary or not."""
        share = scalar_value(fractions, loads=self.loads, depth=self.depth)
        return float(np.dot(self.loss_weight * self.mu, share) / (2 * self.masses.sum()))

    def quantities(self, fractions, *, left=None, right=None) -> dict:
        """Every gauge-free quantity of the balanced point with these fractions.

        Parameters
        ----------
        fractions
            (J,), of each direction of the target.
        left, right
            (K, J) and (C', J), other singular vectors than the spectrum's, where a tie leaves a
            choice.

        Returns
        -------
        dict
            Fields of `Optimum`.
        """
        left = self.left if left is None else left
        right = self.right if right is None else right
        f, M = np.asarray(fractions, dtype=np.float64), self.depth
        reached = np.sqrt(self.mu) * f
        Lam = np.exp(np.mean(np.log(self.decays)))
        # balance: factor m has singular values sqrt(Λ/λ_m) s^{1/(M+1)}
        factors = np.sqrt(Lam / self.decays)[:, None] * (reached ** (1 / (M + 1)))[None, :]
        root = np.sqrt(self.masses)
        bare_right = right / root[:, None]
        logits = (left * reached) @ bare_right.T
        bias = self.bias_at_zero
        if bias is not None:
            bias = bias if self.mean_direction is None else (1 - f[self.mean_direction]) * bias
            logits = logits + bias[:, None]

        def features_gram(product):
            return (bare_right * product**2) @ bare_right.T

        def classifier_gram(product):
            return (left * product**2) @ left.T

        inward = np.cumprod(factors[::-1], axis=0)  # H, W_1 H, W_2 W_1 H, …
        outward = np.cumprod(factors[:M], axis=0)  # W_M, W_M W_{M-1}, …
        size = min(left.shape[0], right.shape[0])
        order = np.argsort(-reached, kind="stable")
        layer_grams = tuple(features_gram(product) for product in inward[:M])
        partial_grams = tuple(classifier_gram(product) for product in outward)
        return {
            "logits": logits,
            "bias": bias,
            "singular_values": _padded(reached[order], size),
            "class_gram": layer_grams[0],
            "classifier_gram": partial_grams[-1],
            "factor_singular_values": _padded(factors[:, order], size),
            "layer_grams": layer_grams,
            "partial_classifier_grams": partial_grams,
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class Optimum(Displayed):
    r"""A global optimum in closed form, described by what is identified.

    Nothing here changes under hidden changes of basis.

    `value`: the objective. `logits` (K, C'): one column per class (or distinct soft target), bias
    included. `bias` (K,) or None. `singular_values` (min(K, C'),): of $W_M\cdots W_1
    H\,\mathrm{diag}(\sqrt m)$, descending, without the bias. `class_gram` (C', C'): $\bar
    H^\top\bar H$. `classifier_gram` (K, K): $WW^\top$ of the whole product.
    `factor_singular_values` (M+1, min(K, C')): of W_M, …, W_1 and the mass-weighted features.
    `layer_grams`: class Grams of H, W_1 H, …, W_{M-1} … W_1 H. `partial_classifier_grams`: of W_M,
    W_M W_{M-1}, …, the whole product. `regime`, `source`, `hypotheses`: what it is, who proved it,
    and what it rests on. `unique`: whether the logits are; where they are not, this is one of the
    optima. `column_index` (C,): the class-level column of each column of the labels; `masses`
    (C',): their masses. `sizes`: the size of each quantity, for relative errors where the
    prediction is 0. `spectrum`: the directions, for squared error. `problem`: of which it is the
    optimum, None of one that was made by hand.
    """

    value: float
    logits: np.ndarray
    bias: np.ndarray | None
    singular_values: np.ndarray
    class_gram: np.ndarray
    classifier_gram: np.ndarray
    factor_singular_values: np.ndarray
    layer_grams: tuple[np.ndarray, ...]
    partial_classifier_grams: tuple[np.ndarray, ...]
    regime: str
    source: str
    hypotheses: tuple[str, ...]
    unique: bool
    column_index: np.ndarray
    masses: np.ndarray
    sizes: Mapping[str, float] = field(default_factory=dict)
    spectrum: Spectrum | None = None
    problem: Problem | None = None

    def __str__(self) -> str:
        unique = "" if self.unique else " (one of many)"
        rounded = "" if self.problem is None else caveat(self.problem.dtype)
        return (
            f"value {self.value:.12g}, {self.regime}{unique}\n{self.source}\nholds for "
            f"{'; '.join(self.hypotheses)}{rounded}"
        )


def _padded(values: np.ndarray, size: int) -> np.ndarray:
    missing = size - values.shape[-1]
    return np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, missing)])
