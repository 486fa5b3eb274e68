r"""From the class-level product W H of one linear layer to everything an `Optimum` holds, and the hypotheses that one-layer forms share.

For M = 1 the decay is, at best, $\sqrt{\lambda_W\lambda_H}\,\|W H\,\mathrm{diag}(\sqrt m)\|_*$, with balanced factors: the product
decides every Gram.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ufm.losses import CrossEntropy
from ufm.optima.optimum import NoClosedForm, Optimum
from ufm.problem import Problem, require_decay

# Singular values below this, relative to the largest, are rounding of the SVD: their square roots would not be.
_RANK = 1e-13
# Targets and masses that should be equal agree to a few roundings of their dtype, and never better than this.
_EQUAL = 1e-12


@dataclass(frozen=True, kw_only=True, eq=False)
class OneLayer:
    """A one-layer problem with its columns merged by class, in float64.

    `targets` (K, K) and `masses` (K,): of each class. `column_index` (C,): class of each column. `rounding`: what equal targets may
    differ by.
    """

    targets: np.ndarray
    masses: np.ndarray
    column_index: np.ndarray
    lambda_W: float
    lambda_H: float
    lambda_b: float | None
    bias: str | None
    feature_dim: int
    rounding: float

    @classmethod
    def of(cls, problem: Problem) -> OneLayer:
        """Read a problem; `NoClosedForm` unless it has one layer, plain decay and one target per class, a distribution."""
        require_decay(problem, "a closed form")
        if problem.depth != 1:
            deeper = "; for deep products see ufm.etf_branch, ufm.deep_candidates and ufm.search" * isinstance(problem.loss, CrossEntropy)
            raise NoClosedForm(f"needs M = 1 for this loss; got M={problem.depth}{deeper}")
        if problem.fixed_weights is not None:
            raise NoClosedForm("needs free weights; got `fixed_weights`")
        if problem.anchor is not None:
            raise NoClosedForm("needs features that are pulled to 0 only; got an `anchor`")
        targets = np.asarray(problem.labels.targets, dtype=np.float64)
        masses = np.asarray(problem.labels.masses, dtype=np.float64)
        K = len(targets)
        index = np.argmax(targets, axis=0)
        class_masses = np.bincount(index, weights=masses, minlength=K)
        if np.any(class_masses == 0):
            raise NoClosedForm(f"needs a target for each of the {K} classes; got none for class {int(np.argmin(class_masses))}")
        merged = targets[:, [int(np.argmax(index == k)) for k in range(K)]]
        rounding = max(_EQUAL, 8 * float(np.finfo(problem.dtype).eps))
        if np.max(np.abs(targets - merged[:, index])) > rounding:
            raise NoClosedForm("needs equal targets for the samples of a class; got several distinct targets in one class")
        if np.max(np.abs(merged.sum(axis=0) - 1)) > rounding or merged.min() < 0:
            raise NoClosedForm("needs targets that are distributions over the classes; got column sums or signs that are not")
        return cls(
            targets=merged,
            masses=class_masses,
            column_index=index,
            lambda_W=float(np.asarray(problem.lambda_W)[0]),
            lambda_H=float(np.asarray(problem.lambda_H)),
            lambda_b=None if problem.lambda_b is None else float(np.asarray(problem.lambda_b)),
            bias=problem.bias,
            feature_dim=problem.feature_dim,
            rounding=rounding,
        )

    @property
    def K(self) -> int:
        """Classes."""
        return len(self.masses)

    @property
    def N(self) -> float:
        """Samples."""
        return float(self.masses.sum())

    @property
    def mu(self) -> float:
        """√(λ_W λ_H), the price of the nuclear norm."""
        return float(np.sqrt(self.lambda_W) * np.sqrt(self.lambda_H))

    @property
    def balanced(self) -> bool:
        """Equal masses."""
        return bool(np.allclose(self.masses, self.masses[0], rtol=self.rounding, atol=0))

    @property
    def smoothing(self) -> float | None:
        """s where the targets are (1 − s) e_k + s/K, None where they are not; 0 for one-hot ones."""
        off, own = self.targets[~np.eye(self.K, dtype=bool)], np.diag(self.targets)
        return float(np.mean(off)) * self.K if max(np.ptp(off), np.ptp(own)) <= self.rounding else None

    @property
    def one_hot(self) -> bool:
        """Whether every target is a unit vector."""
        return self.smoothing == 0

    def _hypotheses(self, loss: str) -> tuple[str, ...]:
        """What an optimum of this problem rests on, in words."""
        kind = "balanced" if self.balanced else "imbalanced"
        smoothing = self.smoothing
        labels = "soft labels" if smoothing is None else f"labels smoothed by {smoothing:g}" if smoothing else "one-hot labels"
        bias = {None: "no bias", "free": "bias not penalised"}.get(self.bias, f"bias penalised by λ_b = {self.lambda_b}")
        return (loss, f"{labels}, {kind}, class counts {shown(self.masses)}", "M = 1", f"d = {self.feature_dim}", bias, "all λ > 0")

    def optimum(
        self,
        product: np.ndarray,
        *,
        value: float,
        regime: str,
        source: str,
        loss: str,
        bias: np.ndarray | None = None,
        unique: bool = True,
    ) -> Optimum:
        """The optimum whose class-level product W H̄ (K, K) is given; `NoClosedForm` when its rank exceeds d."""
        quantities = self._quantities(product)
        rank = int(np.sum(quantities["singular_values"] > 0))
        if rank > self.feature_dim:
            raise NoClosedForm(f"needs d >= {rank}, the rank of the convex optimum; got d={self.feature_dim}, K={self.K}")
        # logits have no target under a log loss: margins of one are the yardstick
        yardstick = self._quantities(np.eye(self.K) - 1 / self.K)
        factors = yardstick["factor_singular_values"]
        sizes = {name: float(np.linalg.norm(yardstick[name])) for name in ("singular_values", "class_gram", "classifier_gram")}
        sizes |= {f"Gram spectrum {i}": float(np.linalg.norm(values**2)) for i, values in enumerate(factors)}
        sizes |= {"logits": float(np.sqrt(self.K - 1)), "features": float(np.linalg.norm(factors[-1])), "bias": 1.0}
        sizes["balance"] = float(self.lambda_H * np.linalg.norm(factors[-1] ** 2))
        return Optimum(
            value=value,
            logits=product if bias is None else product + bias[:, None],
            bias=bias,
            unique=unique,
            column_index=self.column_index,
            masses=self.masses,
            sizes=sizes,
            regime=regime,
            source=source,
            hypotheses=self._hypotheses(loss),
            **quantities,
        )

    def _quantities(self, product: np.ndarray) -> dict:
        root = np.sqrt(self.masses)
        left, s, right = np.linalg.svd(product * root)
        s = np.where(s > _RANK * s[0], s, 0.0)
        # balance: λ_W σ(W)² = λ_H σ(H)² = √(λ_W λ_H) s
        squares = np.stack([np.sqrt(self.lambda_H / self.lambda_W) * s, np.sqrt(self.lambda_W / self.lambda_H) * s])
        classifier_gram = (left * squares[0]) @ left.T
        bare = right.T / root[:, None]
        class_gram = (bare * squares[1]) @ bare.T
        return {
            "singular_values": s,
            "class_gram": class_gram,
            "classifier_gram": classifier_gram,
            "factor_singular_values": np.sqrt(squares),
            "layer_grams": (class_gram,),
            "partial_classifier_grams": (classifier_gram,),
        }


def shown(values) -> str:
    """A few numbers, for a message."""
    values = np.asarray(values)
    text = ", ".join(f"{v:g}" for v in values[:8])
    return f"[{text}{', …' if len(values) > 8 else ''}]"
