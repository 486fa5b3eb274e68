r"""The layer-peeled model.

Cross-entropy with bounded instead of penalised factors, and the imbalance from which minority
classes merge.

$$\min\ \tfrac1N\sum_k n_k\,\mathrm{CE}(Wh_k, k)\quad\text{s.t.}\quad \tfrac1K\|W\|^2\le E_W,\
\tfrac1K\sum_k\|h_k\|^2\le E_H$$

is, for d >= K, the convex problem over logits Z (K, K) with $\|Z\|_*\le\tau = K\sqrt{E_WE_H}$: the
norm bears no class counts. With multiplier ν of that bound, and counts $n_A > n_B$, minority
columns coincide exactly iff $n_B/N\le\nu$. At equality, in units of $n_B/N$, the bound has
multiplier 1 and Z has three unknowns: a (own logit of a majority class above the other majority
ones), d (its minority entries) and c (majority entries of the minority columns).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ufm._host.roots import root_between
from ufm._validate import require, require_each, require_positive, require_whole

_NEWTON_STEPS = 200
# Beyond this ratio n_A/n_B the margins have used up the digits of a double.
_LARGEST_LOG_RATIO = 30.0


@dataclass(frozen=True, kw_only=True)
class MergedMinority:
    """The point at which minority classes have just merged.

    `ratio`: n_A/n_B there. `bound`: τ. `logits` (3,): a, d, c. `majority`: probabilities of a
    majority sample for its own class, another majority class and a minority class. `minority`: of a
    minority sample for a majority and for a minority class.
    """

    ratio: float
    bound: float
    logits: np.ndarray
    majority: np.ndarray
    minority: np.ndarray


def minority_collapse_ratio(
    num_majority: int, num_minority: int, *, weight_energy: float, feature_energy: float
) -> float:
    r"""$R_0$, from which on minority classes coincide in the layer-peeled model.

    They share one classifier row and one feature iff $n_A/n_B\ge R_0$.

    Parameters
    ----------
    num_majority, num_minority
        k_A, k_B >= 2 classes.
    weight_energy, feature_energy
        E_W, E_H > 0: the bounds on the mean square of classifier rows and class means; only their
        product matters.

    Returns
    -------
    float
        Grows exponentially in $\sqrt{E_WE_H}$.

    Raises
    ------
    ValueError
        For fewer than two classes in a group, energies <= 0, or bounds so wide that $R_0$ exceeds
        1e13.

    Notes
    -----
    $R_0$ solves $R(1 - p_{own} + p_{other}) = 1$ with the probabilities of a majority sample where
    minority columns coincide.

    Source: derived; Fang, He, Long & Su 2021 show the limit $n_A/n_B\to\infty$. Needs d >= K; with
    penalties the threshold is another one.
    """
    for name, value in (("weight_energy", weight_energy), ("feature_energy", feature_energy)):
        require_positive(name, value, shape=())
    _require_clusters(num_majority, num_minority)
    bound = (num_majority + num_minority) * np.sqrt(weight_energy) * np.sqrt(feature_energy)

    def short(log_ratio: float) -> bool:
        ratio = float(np.exp(log_ratio))
        return bool(merged_minority(num_majority, num_minority, ratio=ratio).bound < bound)

    require(
        short(0.0),
        "`weight_energy` * `feature_energy` must be > 0",
        (weight_energy, feature_energy),
    )
    require(
        not short(_LARGEST_LOG_RATIO),
        "`weight_energy` * `feature_energy` must leave a ratio below 1e13",
        (weight_energy, feature_energy),
    )
    # the bound grows with the ratio
    return float(
        np.exp(root_between(lambda log_ratio: 0.5 - short(log_ratio), 0.0, _LARGEST_LOG_RATIO))
    )


def merged_minority(num_majority: int, num_minority: int, *, ratio: float) -> MergedMinority:
    r"""The point at which minority classes merge. Three unknowns, by Newton's method to rounding.

    Parameters
    ----------
    num_majority, num_minority
        k_A, k_B >= 2 classes.
    ratio
        $n_A/n_B$ >= 1.

    Returns
    -------
    MergedMinority
        With the bound τ for which `ratio` is the threshold.

    Raises
    ------
    ValueError
        For fewer than two classes in a group and a ratio below 1.

    Notes
    -----
    Minimises $k_AR\,\mathrm{CE}_A(a,d) + k_B\,\mathrm{CE}_B(c) + (k_A-1)a + s$, $s =
    \sqrt{K(k_Bd^2+k_Ac^2)}$; the last two terms are the nuclear norm, and their value is τ.
    """
    k_A, k_B = num_majority, num_minority
    _require_clusters(k_A, k_B)
    require_each(
        "ratio", ratio, lambda r: np.isfinite(r) & (r >= 1), "be finite and >= 1", shape=()
    )
    objective = _Objective.of(k_A, k_B, ratio)
    # with d = c = 0 the first unknown is that of ratio (1 - p_own + p_other) = 1; if no pull on (d,
    # c) exceeds that of the norm, this is it
    x = np.array([_own_margin(k_A, k_A + k_B, ratio), 0.0, 0.0])
    _, gradient, hessian = objective(x)
    metric = objective.metric
    pull = np.sqrt(np.sum(gradient[1:] ** 2 / metric[1:]))
    if pull > 1:
        away = np.array([0, *(-gradient[1:] / metric[1:] / pull)])
        # as far as a parabola falls: Newton does not come back to a kink, and almost equal counts
        # have their point beside it
        x = x + min((pull - 1) / (away @ hessian @ away), 1e-3 * pull) * away
        x = _newton(objective, x)
    majority, minority = (_probabilities(group, x) for group in objective.groups)
    return MergedMinority(
        ratio=float(ratio),
        bound=objective.norm(x),
        logits=x,
        majority=majority,
        minority=minority,
    )


def _require_clusters(num_majority: int, num_minority: int) -> None:
    require_whole("num_majority", num_majority, least=2)
    require_whole("num_minority", num_minority, least=2)


class _Group(NamedTuple):
    """Samples of one kind: their weight in all, and their logits as `rows` @ (a, d, c).

    `sizes`: how many classes share each row. `own`: that of their own class.
    """

    weight: float
    rows: np.ndarray
    sizes: np.ndarray
    own: int


class _Objective(NamedTuple):
    """What `merged_minority` minimises.

    `linear`: k_A − 1, the coefficient of a. `metric` (3,): of the squares under the root.
    """

    groups: tuple[_Group, _Group]
    linear: int
    metric: np.ndarray

    @classmethod
    def of(cls, k_A: int, k_B: int, ratio: float) -> _Objective:
        """Of so many classes.

        Parameters
        ----------
        k_A, k_B
            How many are in the majority, and how many in the minority.
        ratio
            $n_A/n_B$.

        Returns
        -------
        _Objective
            In units of $n_B/N$.
        """
        # logits of a majority sample (own, other majority, minority) and of a minority sample
        # (majority, minority), columns of sum zero
        of_A = np.array([[1 - 1 / k_A, -k_B / k_A, 0], [-1 / k_A, -k_B / k_A, 0], [0, 1, 0]])
        of_B = np.array([[0, 0, 1], [0, 0, -k_A / k_B]])
        groups = (
            _Group(k_A * ratio, of_A, np.array([1, k_A - 1, k_B]), 0),
            _Group(k_B, of_B, np.array([k_A, k_B]), 1),
        )
        return cls(groups, k_A - 1, (k_A + k_B) * np.array([0, k_B, k_A]))

    def norm(self, x: np.ndarray) -> float:
        """The nuclear norm of the logits."""
        return float(self.linear * x[0] + np.sqrt(self.metric @ x**2))

    def __call__(self, x: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """Value, gradient and Hessian."""
        value, gradient = self.linear * x[0], np.array([float(self.linear), 0, 0])
        hessian = np.zeros((3, 3))
        for weight, rows, sizes, own in self.groups:
            logits = rows @ x - rows[own] @ x
            p = sizes * np.exp(logits - logits.max())
            total = p.sum()
            p = p / total
            value += weight * (np.log(total) + logits.max())
            # (p - own) without cancellation in the own class
            gap = rows - rows[own]
            mean = p @ gap
            gradient = gradient + weight * mean
            hessian += weight * ((gap * p[:, None]).T @ gap - np.outer(mean, mean))
        s = np.sqrt(self.metric @ x**2)
        if s > 0:
            pull = self.metric * x / s
            gradient = gradient + pull
            hessian = hessian + (np.diag(self.metric) - np.outer(pull, pull)) / s
        return value + s, gradient, hessian


def _probabilities(group: _Group, x: np.ndarray) -> np.ndarray:
    """Of a class of each row."""
    logits = group.rows @ x
    p = np.exp(logits - np.max(logits))
    return p / (group.sizes @ p)


def _own_margin(k_A: int, K: int, ratio: float) -> float:
    r"""a with $R(1 - p_{own} + p_{other}) = 1$ where all other entries vanish.

    Own logit a − a/k_A, majority −a/k_A, minority 0.
    """

    def excess(a: float) -> float:
        # relative to the own class
        other, minority = np.exp(-a), np.exp(-a * (1 - 1 / k_A))
        return 1 - ratio * (1 - (1 - other) / (1 + (k_A - 1) * other + (K - k_A) * minority))

    return root_between(excess, 0.0, 100.0)


def _newton(evaluate: _Objective, x: np.ndarray) -> np.ndarray:
    """Newton's method with backtracking on a convex function; ends where rounding stops it."""
    value, gradient, hessian = evaluate(x)
    for _ in range(_NEWTON_STEPS):
        step = np.linalg.solve(hessian + 1e-15 * np.trace(hessian) * np.eye(3), -gradient)
        length = 1.0
        while length > 1e-12:
            trial = evaluate(x + length * step)
            lower = trial[0] < value + 1e-4 * length * (gradient @ step)
            # near the end values are rounding, and gradients still tell
            if lower or (length == 1 and np.linalg.norm(trial[1]) < 0.5 * np.linalg.norm(gradient)):
                break
            length /= 2
        else:
            break
        x, (value, gradient, hessian) = x + length * step, trial
    return x
