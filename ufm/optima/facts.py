"""What closed forms ask of a problem, read once on the host in float64.

Nothing else in this room reads a `Problem`.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from ufm._validate import require_instance
from ufm.losses import AbstractLoss
from ufm.model import (
    Problem,
    require_certifiable,
    require_decay,
    require_minimum,
    require_searchable,
)
from ufm.optima.columns import Columns, merged_by_class, merged_by_target

# Targets and masses that should be equal agree to a few roundings of their dtype, and never better
# than this.
_EQUAL = 1e-12

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, eq=False)
class Facts:
    r"""The facts of a problem.

    `loss`: in its canonical form; `bare_loss`: without offsets of the labels. `targets` (K, C),
    `masses` (C,): of the labels as given. `weights` (C,) or None: of the loss. `widths` (M,): (d_1,
    …, d_M). `lambda_W` (M,), outermost first; `lambda_H`. `bias`: None, "free" or "penalised", and
    then `lambda_b`. `map`: its name, "linear" for the product of the factors; `kinked`: whether it
    is that of ReLU. `features`, `classifier_domain`: the names of their domains, "real" where they
    have none. `feature_length`, `classifier_length`: the largest length that these allow if all
    vectors have one, None where they allow any; `feature_means`: whether features may be replaced
    by their mean. `classifier` (K, d): the product of weights that are fixed, else None.
    `anchored`: whether features are pulled to given ones. `held`: whether decay or a domain bounds
    every factor that is free. `lift`: what the convex problem that bounds this one is in:
    "columns", each its own, "product" of the factors, "Gram" of all vectors, or "nonnegative Gram".
    `loose`: the domains for whose constraints that problem may lack multipliers.
    `uncertified`, `unsolved`, `unsearched`: what keeps a certificate, a minimiser or a search from
    it, None where nothing does. `rounding`: what numbers that should be equal may differ by,
    relatively.
    """

    loss: AbstractLoss
    bare_loss: AbstractLoss
    targets: np.ndarray
    masses: np.ndarray
    weights: np.ndarray | None
    widths: tuple[int, ...]
    lambda_W: np.ndarray
    lambda_H: float
    lambda_b: float | None
    bias: str | None
    map: str
    kinked: bool
    features: str
    classifier_domain: str
    feature_length: float | None
    feature_means: bool
    classifier_length: float | None
    classifier: np.ndarray | None
    anchored: bool
    held: bool
    lift: str
    loose: tuple[str, ...]
    uncertified: str | None
    unsolved: str | None
    unsearched: str | None
    one_hot: bool
    equal_weights: bool
    rounding: float
    eps: float
    _memory: dict[Callable, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, problem: Problem) -> Facts:
        """Read a problem. Any problem has facts; a closed form is another matter."""
        require_instance("problem", problem, Problem)
        labels, eps = problem.labels, float(np.finfo(problem.dtype).eps)
        fixed = problem.fixed_weights
        if fixed is not None:
            fixed = [np.asarray(W, dtype=np.float64) for W in fixed]
        return cls(
            loss=problem.loss.canonical(),
            bare_loss=problem.bare_loss.canonical(),
            targets=np.asarray(labels.targets, dtype=np.float64),
            masses=np.asarray(labels.masses, dtype=np.float64),
            weights=None if labels.weights is None else np.asarray(labels.weights, np.float64),
            widths=problem.widths,
            lambda_W=np.asarray(problem.lambda_W, dtype=np.float64),
            lambda_H=float(np.asarray(problem.lambda_H)),
            lambda_b=None if problem.lambda_b is None else float(np.asarray(problem.lambda_b)),
            bias=problem.bias,
            map=problem.map.name,
            kinked=problem.kinked and (leak := problem.map.leak) is not None and float(leak) == 0,
            features=problem.features.name,
            classifier_domain=problem.classifier.name,
            feature_length=problem.features.common_length(labels.masses),
            feature_means=problem.features.holds_means(labels.masses),
            classifier_length=problem.classifier.common_length(np.ones(labels.num_classes)),
            classifier=None if fixed is None else functools.reduce(operator.matmul, fixed),
            anchored=problem.anchor is not None,
            held=_refusal(require_decay, problem, "a bound") is None,
            lift=_lift(problem),
            loose=problem.loose,
            uncertified=_refusal(require_certifiable, problem),
            unsolved=_refusal(require_minimum, problem, "a minimiser"),
            unsearched=_refusal(require_searchable, problem),
            one_hot=labels.is_one_hot(),
            equal_weights=labels.has_equal_weights(),
            rounding=max(_EQUAL, 8 * eps),
            eps=eps,
        )

    @property
    def offsets(self) -> bool:
        """Whether labels add something to logits, so that columns of one target are not alike."""
        return self.loss.by_column

    @property
    def without_offsets(self) -> Facts:
        """Those of the problem whose labels add nothing to logits."""
        return replace(self, loss=self.bare_loss, _memory={})

    @property
    def K(self) -> int:
        """Classes."""
        return len(self.targets)

    @property
    def M(self) -> int:
        """Linear layers after the features."""
        return len(self.widths)

    @property
    def feature_dim(self) -> int:
        """d = d_1."""
        return self.widths[0]

    @cached_property
    def N(self) -> float:
        """Samples: the total mass."""
        return float(self.masses.sum())

    @property
    def unconstrained(self) -> bool:
        """Whether factors may be anything."""
        return self.features == self.classifier_domain == "real"

    @property
    def decays(self) -> np.ndarray:
        """(M + 1,): λ of every factor, outermost first, features last."""
        return np.append(self.lambda_W, self.lambda_H)

    @property
    def frozen(self) -> bool:
        """Whether the weights are fixed."""
        return self.classifier is not None

    @property
    def Lambda(self) -> float:
        r"""$(\lambda_M\cdots\lambda_1\lambda_H)^{1/(M+1)}$; 0 where some λ is."""
        decays = self.decays
        return float(np.exp(np.mean(np.log(decays)))) if (decays > 0).all() else 0.0

    @property
    def strength(self) -> float:
        r"""$N(\lambda_M\cdots\lambda_1\lambda_H)^{1/(M+1)}$, which for one layer is
        $N\sqrt{\lambda_W\lambda_H}$."""
        return self.N * self.Lambda

    @property
    def mu(self) -> float:
        r"""$\sqrt{\lambda_W\lambda_H}$ of one layer, the price of the nuclear norm."""
        return float(np.sqrt(self.lambda_W[0]) * np.sqrt(self.lambda_H))

    @cached_property
    def class_counts(self) -> np.ndarray:
        """(K,): the mass that each class receives."""
        return self.targets @ self.masses

    @cached_property
    def distinct(self) -> Columns:
        """Columns merged where their targets are equal.

        One-hot ones in the order of classes, others as met.
        """
        return self.classes if self.one_hot else merged_by_target(self.targets, self.masses)

    @cached_property
    def classes(self) -> Columns:
        """Columns merged by their class, the largest entry of the target.

        A class without columns has mass 0 and target 0.
        """
        return merged_by_class(self.targets, self.masses)

    @cached_property
    def columns(self) -> Columns:
        """Those of which an optimum is told.

        One a class where every class has one target, else one a target.
        """
        apart = self.one_target_per_class and bool(self.classes.masses.all())
        return self.classes if apart else self.distinct

    @cached_property
    def one_target_per_class(self) -> bool:
        """Whether columns of one class have one target."""
        merged = self.classes.targets[:, self.classes.index]
        return bool(np.max(np.abs(self.targets - merged)) <= self.rounding)

    @cached_property
    def distributions(self) -> bool:
        """Whether targets are distributions over the classes."""
        sums = self.targets.sum(axis=0)
        return bool(np.max(np.abs(sums - 1)) <= self.rounding and self.targets.min() >= 0)

    @cached_property
    def balanced(self) -> bool:
        """Whether all classes have the same mass of columns."""
        masses = self.classes.masses
        return bool(masses[0] > 0 and np.allclose(masses, masses[0], rtol=self.rounding, atol=0))

    @cached_property
    def smoothing(self) -> float | None:
        """s where the target of each class is (1 − s) e_k + s/K, None where it is not.

        0 for one-hot ones.
        """
        if self.K < 2:
            return None
        targets = self.classes.targets
        off, own = targets[~np.eye(self.K, dtype=bool)], np.diag(targets)
        alike = max(np.ptp(off), np.ptp(own)) <= self.rounding and self.one_target_per_class
        return float(np.mean(off)) * self.K if alike and self.distributions else None

    def once(self, function: Callable[[Facts], T]) -> T:
        """What a function makes of these facts, computed when it is first asked for.

        Hypotheses and optima share what is costly.
        """
        if function not in self._memory:
            self._memory[function] = function(self)
        return self._memory[function]

    @property
    def zero_bias(self) -> np.ndarray | None:
        """A bias of zeros (K,), None in a problem without one."""
        return None if self.bias is None else np.zeros(self.K)

    @property
    def domain_words(self) -> str:
        """The domains of features and classifier, for a list of hypotheses; empty without any."""
        named = (("features", self.features), ("classifier", self.classifier_domain))
        return ", ".join(f"{domain} {name}" for name, domain in named if domain != "real")

    @property
    def bias_words(self) -> str:
        """The kind of bias, for a list of hypotheses."""
        kinds = {None: "no bias", "free": "bias not penalised"}
        return kinds.get(
            self.bias, f"bias penalised by λ_b = {self.lambda_b:g}" if self.lambda_b else ""
        )


def _refusal(require: Callable[..., None], *arguments) -> str | None:
    """What a requirement says against a problem."""
    try:
        require(*arguments)
    except ValueError as reason:
        return str(reason)
    return None


def _lift(problem: Problem) -> str:
    gram = problem.map.gram
    if problem.frozen and gram is None and not problem.features.spare:
        return "columns"
    if problem.features.nonnegative or (gram is not None and gram.forgets_lengths):
        return "nonnegative Gram"
    plain = problem.plain and problem.anchor is None
    return "product" if plain else "Gram"
