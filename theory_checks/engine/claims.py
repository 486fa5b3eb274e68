"""What a check says of a case: numbers against predictions, and numbers to show."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from theory_checks.engine.refusals import require

# an outside case must miss the theorem's claim by this many tolerances: a miss by rounding is no
# violation
CLEAR_VIOLATION = 100.0
# a prediction that is off by this much is missed, whichever way: no tolerance is above half of it
SHIFT = 1e-5
# a share of a tolerance that is rounding alone, and printed as less than this
NEGLIGIBLE = 0.001
# the claim from which a row takes its certificate gap
CERTIFICATE_CLAIM = "certificate gap"


@dataclasses.dataclass(frozen=True, eq=False)
class Claim:
    """One number or array against its prediction.

    It holds when max |measured − predicted| / scale <= tolerance.

    Both are kept as float64 arrays of one shape. `scale` is what the error is relative to (1 for an
    absolute one). A `witness` claim is no part of the theorem but evidence about the measurement
    (certificate, the general closed form): it must hold in every setting, outside the hypotheses
    too. `points`: the (`ufm.Problem`, `ufm.Params`) whose certificate the claim is, for a proof.
    """

    name: str
    measured: Any
    predicted: Any
    tolerance: float
    scale: float = 1.0
    witness: bool = False
    points: tuple[tuple[Any, Any], ...] = ()

    def __post_init__(self):
        measured, predicted = (
            np.asarray(self.measured, dtype=np.float64),
            np.asarray(self.predicted, dtype=np.float64),
        )
        require(
            measured.shape == predicted.shape,
            f"{self.name}: measured {measured.shape}, predicted {predicted.shape}",
        )
        # (what compares nothing, or anything, would hold)
        require(measured.size > 0, f"{self.name}: nothing measured")
        require(0 < self.scale < np.inf, f"{self.name}: scale {self.scale}")
        require(
            0 < self.tolerance <= SHIFT / 2,
            f"{self.name}: tolerance {self.tolerance}, which must be above 0 and at most "
            f"{SHIFT / 2:.0e}, or a prediction that is off by {SHIFT:.0e} could pass",
        )
        object.__setattr__(self, "measured", measured)
        object.__setattr__(self, "predicted", predicted)

    @property
    def error(self) -> float:
        """max |measured − predicted| / scale; NaN when either is not a number."""
        return float(np.max(np.abs(self.measured - self.predicted), initial=0.0) / self.scale)

    @property
    def share(self) -> float:
        """How much of its tolerance the error uses; all there is when it is not a number."""
        return self.error / self.tolerance if self.error == self.error else float("inf")

    @property
    def rank(self) -> float:
        """What the worst of claims has most of."""
        return rank_of(self.share)

    @property
    def holds(self) -> bool:
        """Whether the error is within the tolerance; NaN is not."""
        return self.error <= self.tolerance

    @property
    def violated(self) -> bool:
        """Whether the claim is missed by so much that no rounding explains it."""
        return self.error > CLEAR_VIOLATION * self.tolerance

    def shifted(self, amount: float) -> Claim:
        """The same claim with its prediction moved by `amount`, relative and absolute at once, so
        that the error grows to `amount`."""
        return dataclasses.replace(
            self, predicted=self.predicted + amount * (self.scale + np.abs(self.predicted))
        )

    def without_points(self) -> Claim:
        """The numbers alone: no row keeps arrays on a device, or sends them to another process."""
        return dataclasses.replace(self, points=()) if self.points else self


def rank_of(share: float) -> float:
    """A share of a tolerance, where it is no rounding alone.

    Which of several claims rounding hits most differs between machines.
    """
    return 0.0 if share < NEGLIGIBLE else share


def worst_of(claims: Iterable[Claim]) -> Claim:
    """The one that uses most of its tolerance, with the points of all.

    A proof of one is no proof of the others.
    """
    claims = list(claims)
    worst = max(claims, key=lambda claim: claim.share)
    return dataclasses.replace(worst, points=tuple(at for claim in claims for at in claim.points))


@dataclasses.dataclass(frozen=True, eq=False)
class Record:
    """Columns of numbers to show beside the claims, such as a trajectory.

    Nothing is judged by them; figures are drawn from them.
    """

    name: str
    columns: Mapping[str, np.ndarray]

    def __post_init__(self):
        require(isinstance(self.columns, Mapping), f"{self.name}: columns {self.columns!r}")
        for name, column in self.columns.items():
            array = np.asarray(column)
            numbers = array.ndim == 1 and array.dtype.kind in "biuf"
            require(numbers, f"{self.name}: {name} is no column of numbers, {column!r}")
