"""Random one-layer problems for `tests.fuzz`, and their objective in extended precision.

A `Shape` is all that is compiled for; everything else is drawn. Losses: those of one sample, `sum`
(cross-entropy and squared error), `scales` (two cross-entropies, each of which scales and shifts
classes in its own way), `mixed` (all three kinds), `offset` (finite offsets, now and then a class
dropped), `dropped` (classes dropped in a pattern: groups that never meet, a ring, all but one, at
random) and `shifted` (finite offsets of `scales`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

import ufm

_LEAST, _LARGEST = -12.0, 3.0
_DROPPING = ("offset", "dropped")
# whose gradient lives on a simplex, so that with a free bias every class must be able to gain
SOFTMAX = ("entropy", "adjusted", "offset", "scales", "dropped", "shifted")

# sums of softmax losses that scale classes differently
APART = ("scales", "shifted")


class Shape(NamedTuple):
    """What is compiled: loss, kind of bias, K, d, C, the domains, and whether features have an
    anchor."""

    loss: str
    bias: str | None
    K: int
    d: int
    C: int
    features: str = "real"
    classifier: str = "real"
    anchored: bool = False

    def __str__(self) -> str:
        words = [self.loss, str(self.bias), str(self.K)]
        words += [f"{self.features}+{self.classifier}"] * (self.constrained)
        return "-".join(words + ["anchored"] * self.anchored)

    @property
    def constrained(self) -> bool:
        return (self.features, self.classifier) != ("real", "real")


@dataclass(frozen=True)
class Where:
    """A domain of n vectors: radii (n,), which also make an energy, and weights (n,)."""

    kind: str
    radii: np.ndarray
    weights: np.ndarray

    @property
    def domain(self):
        if self.kind == "budget":
            return ufm.domains.Budget(self.energy, weights=self.weights)
        if self.kind in ("ball", "sphere"):
            kinds = {"ball": ufm.domains.Ball, "sphere": ufm.domains.Sphere}
            return kinds[self.kind](self.radii)
        return ufm.domains.Nonnegative() if self.kind == "nonnegative" else ufm.domains.Real()

    @property
    def compact(self) -> bool:
        return self.kind in ("ball", "sphere", "budget")

    @property
    def energy(self) -> float:
        return float(self.radii[0] ** 2 * self.weights.sum())

    def inside(self, vectors):
        """The point of the domain for which floats stand, in extended precision."""
        wide = np.longdouble
        lengths = np.sqrt((vectors**2).sum(axis=0))
        if self.kind == "nonnegative":
            return np.maximum(vectors, 0)
        if self.kind == "budget":
            used = (self.weights.astype(wide) * lengths**2).sum()
            return vectors / np.sqrt(np.maximum(used / wide(self.energy), 1))
        if self.kind in ("ball", "sphere"):
            longer = lengths / self.radii.astype(wide)
            return vectors / (longer if self.kind == "sphere" else np.maximum(longer, 1))
        return vectors


@dataclass(frozen=True)
class Draw:
    """One random problem, as plain arrays of float64."""

    shape: Shape
    targets: np.ndarray
    masses: np.ndarray
    lambda_W: float
    lambda_H: float
    lambda_b: float
    multiplicative: np.ndarray
    additive: np.ndarray
    offsets: np.ndarray
    # of the second part of `scales`, and the weights of parts
    second: tuple[np.ndarray, np.ndarray]
    parts: np.ndarray
    features: Where
    classifier: Where
    anchor: np.ndarray
    beta: float

    @property
    def loss(self):
        kind = self.shape.loss
        first = ufm.losses.AdjustedCrossEntropy(
            multiplicative=self.multiplicative, additive=self.additive
        )
        if kind == "sum":
            parts = (ufm.CrossEntropy(), ufm.MeanSquaredError())
            return ufm.losses.Sum(parts, weights=self.multiplicative[:2])
        if kind in ("scales", "shifted"):
            second = ufm.losses.AdjustedCrossEntropy(
                multiplicative=self.second[0], additive=self.second[1]
            )
            return ufm.losses.Sum((first, second), weights=self.parts[:2])
        if kind == "mixed":
            parts = (ufm.CrossEntropy(), first, ufm.MeanSquaredError())
            return ufm.losses.Sum(parts, weights=self.parts)
        if kind == "squared":
            return ufm.MeanSquaredError()
        if kind == "rescaled":
            return ufm.losses.RescaledSquaredError(
                length=float(self.multiplicative[0]), weight=float(1 + self.multiplicative[1])
            )
        return first if kind == "adjusted" else ufm.CrossEntropy()

    def problem(self, *, bias=None) -> ufm.Problem:
        """The problem; with another bias than its own where that is given."""
        shape = self.shape
        labels = ufm.soft(self.targets, self.masses)
        if shape.loss in (*_DROPPING, "shifted"):
            labels = ufm.labels.with_offsets(labels, self.offsets)
        own = self.lambda_b if shape.bias == "penalised" else shape.bias
        anchored = {"anchor": self.anchor, "beta": self.beta} if shape.anchored else {}
        return ufm.Problem(
            labels,
            loss=self.loss,
            widths=(shape.d,),
            lambda_W=self.lambda_W,
            lambda_H=self.lambda_H,
            bias=own if bias is None else bias,
            features=self.features.domain,
            classifier=self.classifier.domain,
            **anchored,
        )

    @property
    def runs_away(self) -> bool:
        """Whether a free bias has no minimiser: some class j is kept beside a target of k, and no
        chain of such leads from j back to k."""
        shape = self.shape
        if shape.bias != "free" or shape.loss not in SOFTMAX:
            return False
        kept = self.offsets > -np.inf if shape.loss in _DROPPING else self.targets >= 0
        leads = [
            {int(j) for c in np.flatnonzero(row) for j in np.flatnonzero(kept[:, c])}
            for row in self.targets
        ]

        def reached(k: int) -> set[int]:
            found = {k}
            while more := set().union(*(leads[j] for j in found)) - found:
                found |= more
            return found

        return any(k not in reached(j) for k, row in enumerate(leads) for j in row)


def draw(seed: int, index: int, shapes) -> Draw:
    """Problem `index` of a run."""
    rng = np.random.default_rng([seed, index])
    shape = Shape(*shapes[index % len(shapes)])
    kind, _, K, d, C = shape[:5]
    overall, ratio = rng.uniform(_LEAST, _LARGEST), rng.choice([0.0, rng.uniform(-3, 3)])
    # a tail whose ratio is log-uniform, or equal masses
    tail = rng.choice([0.0, rng.uniform(0, 4)])
    masses = np.maximum(np.rint(10 ** (tail * rng.uniform(size=C)) * rng.choice([1, 10])), 1)
    targets = _targets(rng, kind, K, C)
    lambda_W, lambda_H = 10 ** (overall + ratio / 2), 10 ** (overall - ratio / 2)
    lambda_b = 10 ** rng.uniform(-6, 3)
    multiplicative = 10 ** rng.uniform(-0.7, 0.7, size=K)
    additive = rng.normal(size=K) * rng.choice([0.0, 1.0, 5.0])
    offsets = _offsets(rng, targets)
    second = _second(rng, multiplicative)
    parts = 10 ** rng.uniform(-1.5, 1.5, size=3)
    if kind == "dropped":
        targets, offsets = _dropped(rng, targets, offsets)
    elif kind == "shifted":
        offsets = np.where(offsets > -np.inf, offsets, 0)
    features = _where(rng, shape.features, masses)
    classifier = _where(rng, shape.classifier, np.ones(K))
    anchor = rng.normal(size=(d, C)) * 10 ** rng.uniform(-3, 2) * rng.choice([1.0, 1.0, 0.0])
    # what is held otherwise needs no decay
    if features.compact or shape.anchored:
        lambda_H = rng.choice([lambda_H, lambda_H, 0.0])
    if classifier.compact:
        lambda_W = rng.choice([lambda_W, lambda_W, 0.0])
    return Draw(
        shape=shape,
        targets=targets,
        masses=masses,
        lambda_W=lambda_W,
        lambda_H=lambda_H,
        lambda_b=lambda_b,
        multiplicative=multiplicative,
        additive=additive,
        offsets=offsets,
        second=second,
        parts=parts,
        features=features,
        classifier=classifier,
        anchor=anchor,
        beta=10 ** rng.uniform(-6, 3),
    )


def _offsets(rng, targets: np.ndarray) -> np.ndarray:
    """Offsets (K, C) of every size; classes that a column has no target for may be dropped."""
    offsets = rng.normal(size=targets.shape) * rng.choice([0.0, 1.0, 30.0])
    dropped = (targets == 0) & (rng.uniform(size=targets.shape) < rng.choice([0.0, 0.3]))
    return np.where(dropped, -np.inf, offsets)


def _dropped(rng, targets: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Targets and offsets (K, C) in which each column keeps the classes of a pattern."""
    K, C = targets.shape
    classes = targets.argmax(axis=0)
    which = rng.choice(["groups", "ring", "all but one", "random"])
    if which == "groups":
        # in each group every class has its columns, so that most of these have a minimum
        group = rng.permutation(K) % rng.integers(2, max(3, K // 2 + 1))
        kept = group[:, None] == group[classes][None, :]
    elif which == "ring":
        kept = (np.arange(K)[:, None] - classes[None, :]) % K <= 1
    elif which == "all but one":
        kept = np.arange(K)[:, None] != (classes + rng.integers(1, K, size=C)) % K
    else:
        kept = rng.uniform(size=(K, C)) < rng.uniform(0.2, 0.9)
    kept[classes, np.arange(C)] = True
    targets = np.where(kept, targets, 0)
    finite = np.where(offsets > -np.inf, offsets, 0)
    return targets / targets.sum(axis=0), np.where(kept, finite, -np.inf)


def _second(rng, multiplicative: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scales and shifts (K,) of the second part: its own scales, or those of the first, times a
    number or just."""
    own = 10 ** rng.uniform(-0.7, 0.7, size=len(multiplicative))
    near = multiplicative * (1 + 10 ** rng.uniform(-14, -2) * rng.normal(size=len(own)))
    common = multiplicative * 10 ** rng.uniform(-0.7, 0.7)
    scale = [own, common, np.abs(near)][rng.choice(3, p=[0.6, 0.2, 0.2])]
    return scale, rng.normal(size=len(own)) * rng.choice([0.0, 1.0, 5.0])


def _where(rng, kind: str, masses: np.ndarray) -> Where:
    """A domain: radii of every size, alike or not; weights of a budget by mass or not."""
    n = len(masses)
    radii = 10 ** rng.uniform(-2, 1.5) * 10 ** (rng.choice([0.0, 1.0]) * rng.normal(size=n) / 2)
    weights = masses if rng.uniform() < 0.5 else 10 ** rng.uniform(-1, 1, size=n)
    return Where(kind, radii, np.asarray(weights, float))


def _targets(rng, kind: str, K: int, C: int) -> np.ndarray:
    """Targets (K, C): one-hot (every class, some class missing), smoothed, soft.

    For squared error also centred and any sign.
    """
    which = rng.choice(
        ["one-hot", "missing", "smoothed", "soft", "other"], p=[0.4, 0.05, 0.2, 0.25, 0.1]
    )
    classes = np.concatenate([np.arange(K), rng.integers(K, size=C - K)])
    if which == "missing":
        classes = rng.integers(max(K - 1, 1), size=C)
    targets = np.eye(K)[:, classes]
    if which == "smoothed":
        smoothing = 10 ** rng.uniform(-12, -0.5)
        targets = (1 - smoothing) * targets + smoothing / K
    elif which == "soft":
        targets = rng.dirichlet(np.full(K, 10 ** rng.uniform(-1, 1)), size=C).T
    elif which == "other" and kind == "squared":
        targets = rng.choice([targets - 1 / K, rng.normal(size=(K, C)) * 10 ** rng.uniform(-8, 4)])
    return targets


def exact_value(drawn: Draw, params: ufm.Params) -> np.longdouble:
    """The objective in extended precision, by formulas written out here.

    Of the point in its domain for which these floats stand.
    """
    wide = np.longdouble
    (W,), H = params.weights, params.features
    W, H, q, m = (np.asarray(x).astype(wide) for x in (W, H, drawn.targets, drawn.masses))
    W, H = drawn.classifier.inside(W.T).T, drawn.features.inside(H)
    Z = W @ H
    b = np.zeros(len(q), wide) if params.bias is None else np.asarray(params.bias).astype(wide)
    losses = _losses(drawn, Z + b[:, None], q)
    decay = (
        wide(drawn.lambda_W) * (W**2).sum() + wide(drawn.lambda_H) * (m * (H**2).sum(axis=0)).sum()
    )
    if drawn.shape.anchored:
        apart = ((H - drawn.anchor.astype(wide)) ** 2).sum(axis=0)
        decay += wide(drawn.beta) * (m * apart).sum()
    if drawn.shape.bias == "penalised":
        decay += wide(drawn.lambda_b) * (b**2).sum()
    return (m * losses).sum() / m.sum() + decay / 2


def _losses(drawn: Draw, Z, q):
    """The loss of every column."""
    wide, kind = np.longdouble, drawn.shape.loss
    if kind in ("offset", "dropped", "shifted"):
        Z = Z + drawn.offsets.astype(wide)
    if kind in ("entropy", "offset", "dropped"):
        return _entropies(Z, q)
    scale, shift = (each.astype(wide)[:, None] for each in (drawn.multiplicative, drawn.additive))
    if kind == "adjusted":
        return _entropies(scale * Z + shift, q)
    if kind == "rescaled":
        return _squares(Z, q, drawn.multiplicative[0], 1 + drawn.multiplicative[1])
    if kind == "squared":
        return _squares(Z, q, 1, 1)
    if kind == "sum":
        first, second = drawn.multiplicative[:2].astype(wide)
        return first * _entropies(Z, q) + second * _squares(Z, q, 1, 1)
    parts = drawn.parts.astype(wide)
    adjusted = _entropies(scale * Z + shift, q)
    if kind == "mixed":
        return parts[0] * _entropies(Z, q) + parts[1] * adjusted + parts[2] * _squares(Z, q, 1, 1)
    assert kind in ("scales", "shifted")
    scale, shift = (each.astype(wide)[:, None] for each in drawn.second)
    return parts[0] * adjusted + parts[1] * _entropies(scale * Z + shift, q)


def _squares(Z, q, length, weight):
    """Squared error of every column, rescaled."""
    wide = np.longdouble
    return ((1 + (wide(weight) - 1) * q) * (Z - wide(length) * q) ** 2).sum(axis=0) / 2


def _entropies(Z, q):
    """Cross-entropy of every column, without cancellation."""
    below = Z.max(axis=0) - Z
    first = Z.argmax(axis=0)
    others = np.exp(-below)
    others[first, np.arange(Z.shape[1])] = 0
    # (a class that is dropped is infinitely far below)
    linear = np.where(q == 0, 0, q * np.where(q == 0, 0, below)).sum(axis=0)
    return q.sum(axis=0) * np.log1p(others.sum(axis=0)) + linear
