"""What theory says of a problem beside its optimum.

Statements with hypotheses, and strengths of decay at which the optimum changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ufm.optima.facts import Facts
from ufm.optima.hypotheses import LINEAR, Hypothesis, of_map

# In the order in which `theory` lists them.
KINDS = ("optimum", "threshold", "bound", "landscape", "candidate", "limit", "law")


@dataclass(frozen=True, kw_only=True)
class Statement:
    """A theorem that speaks about some problems.

    `kind`: one of `KINDS`. `name`, `source`: what it is about, and who proved it. `call`: what
    computes it. `accepts`: its hypotheses with their answers, which may end at one that fails.
    `says`: what it says of a problem that meets them all. `maps`: the names of the maps that it
    speaks about, None where its hypotheses say so.
    """

    kind: str
    name: str
    source: str
    call: str
    accepts: Callable[[Facts], Iterable[Hypothesis]]
    says: Callable[[Facts], str]
    maps: tuple[str, ...] | None = LINEAR
    offsets: bool = False

    def holds(self, facts: Facts) -> bool:
        """Whether all hypotheses hold."""
        return all(hypothesis.holds for hypothesis in of_map(self, facts))


@dataclass(frozen=True, kw_only=True)
class Threshold:
    r"""A strength of decay $N(\lambda_M\cdots\lambda_1\lambda_H)^{1/(M+1)}$ at which something
    changes.

    `change`: what happens from there on. `of_optimum`: whether it happens to the global optimum, or
    to other stationary points only. `drop`: by how much the rank of the product falls there,
    `rank`: what it is from there on; None where that is not known. `bracket`: strengths below and
    above it at which the rank was certified; both are `strength` where a formula gives it.
    `source`: whose formula.
    """

    strength: float
    change: str
    source: str
    of_optimum: bool = True
    drop: int | None = None
    rank: int | None = None
    bracket: tuple[float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class ThresholdRule:
    """Thresholds by formula.

    `accepts`: hypotheses, none of them on how strong decay is or on the room for a solution.
    `find`: the thresholds of a problem with room. `room`: the width with which there are no others,
    once all rules have spoken; None where there may be others with any.
    """

    name: str
    accepts: Callable[[Facts], Iterable[Hypothesis]]
    find: Callable[[Facts], Iterable[Threshold]]
    room: Callable[[Facts], int] | None = None
    maps: tuple[str, ...] = LINEAR
    offsets: bool = False

    def holds(self, facts: Facts) -> bool:
        """Whether all hypotheses hold."""
        return all(hypothesis.holds for hypothesis in of_map(self, facts))


def whatever_decay(hypotheses: Iterable[Hypothesis]) -> Iterable[Hypothesis]:
    """Hypotheses without those on the strength of decay or on the room for a solution, which change
    along the axis of strengths."""
    return (h for h in hypotheses if h.name not in ("decay", "weak decay", "strong decay", "width"))
