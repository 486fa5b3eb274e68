"""What comes of asking a part of a problem, the library's or a user's own, whether it is what it
says: questions at random points, and a finding for each."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import jax
import numpy as np

from ufm._classes.module import Displayed


class Wrong(Exception):
    """What is wrong, in words."""


class Absent(Exception):
    """What the part does not have, and what is not possible without."""


class Asked(Protocol):
    """Where a part is asked: what rounding explains there, and where an error is in words."""

    @property
    def rounding(self) -> float: ...

    def at(self, errors: np.ndarray) -> str: ...


P = TypeVar("P", bound=Asked)
Ask = Callable[[P], Iterator[tuple[str, Any, Any]]]


@dataclass(frozen=True, kw_only=True)
class Finding(Displayed):
    """What came of one question.

    `verdict` "ok", "wrong" or "absent" (what the part does not have), and why.

    `error`: the largest deviation, relative to the size of its terms; NaN where there is none.
    `tolerance`: what rounding explains.
    """

    question: str
    verdict: str
    why: str = ""
    error: float = float("nan")
    tolerance: float = float("nan")

    def __str__(self) -> str:
        numbers = (
            ""
            if np.isnan(self.error)
            else f"  (error {self.error:.1e}, rounding {self.tolerance:.0e})"
        )
        return f"{self.verdict:<7} {self.question}{': ' * bool(self.why)}{self.why}{numbers}"


@dataclass(frozen=True, kw_only=True)
class Report(Displayed):
    """What was found: `findings`, in the order asked; `wrong`: the questions that are failed."""

    findings: tuple[Finding, ...]

    @property
    @abstractmethod
    def about(self) -> str:
        """What was asked, in words."""

    @property
    def wrong(self) -> tuple[str, ...]:
        """The questions that it fails."""
        return tuple(f.question for f in self.findings if f.verdict == "wrong")

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.wrong

    def __str__(self) -> str:
        verdict = "nothing wrong" if self.ok else f"wrong: {', '.join(self.wrong)}"
        return "\n".join([f"{self.about}: {verdict}", *map(str, self.findings)])


def findings(questions: Iterable[tuple[str, Ask[P]]], points: P) -> tuple[Finding, ...]:
    """What comes of each question.

    Parameters
    ----------
    questions
        Names, and what yields what it would mean to fail, deviations, and the sizes of their terms.
    points
        What all of them are asked of.

    Returns
    -------
    tuple[Finding, ...]
        In the order asked.
    """
    return tuple(_finding(name, ask, points) for name, ask in questions)


def _finding(name: str, ask: Ask[P], points: P) -> Finding:
    try:
        worst = deviation(ask, points)
    except Absent as reason:
        return Finding(question=name, verdict="absent", why=str(reason))
    except Deviates as reason:
        error, tolerance = reason.error, points.rounding
        return Finding(
            question=name, verdict="wrong", why=str(reason), error=error, tolerance=tolerance
        )
    except Wrong as reason:
        return Finding(question=name, verdict="wrong", why=str(reason))
    except Exception as error:  # whatever a part of one's own raises is what is wrong with it
        return Finding(question=name, verdict="wrong", why=_raised(error))
    return Finding(question=name, verdict="ok", error=worst, tolerance=points.rounding)


def _raised(error: Exception) -> str:
    """What a part raises, in a line."""
    said = f"raises {type(error).__name__}: {str(error).partition(chr(10))[0]}"
    if isinstance(error, jax.errors.ConcretizationTypeError):
        said += (
            " Python decides by an argument or a field, which are traced: use jnp.where, or "
            "eqx.field(static=True) for a field that is a setting"
        )
    return said


class Deviates(Wrong):
    """By how much, relative to the size of the terms."""

    def __init__(self, why: str, error: float):
        super().__init__(why)
        self.error = error


def deviation(ask: Ask[P], points: P) -> float:
    """The largest relative deviation that a question finds; NaN where it looks for none.

    Parameters
    ----------
    ask, points
        As for `findings`.

    Returns
    -------
    float
        What rounding explains.

    Raises
    ------
    Wrong
        For what it does not.
    """
    worst = float("nan")
    for meaning, off, size in ask(points):
        error = np.abs(np.asarray(off)) / (1 + np.abs(np.asarray(size)))
        if not np.all(np.isfinite(error)):
            raise Wrong(f"{meaning}{points.at(error)}; not finite")
        worst = float(np.fmax(worst, error.max(initial=0.0)))
        if worst > points.rounding:
            raise Deviates(f"{meaning}{points.at(error)}", worst)
    return worst
