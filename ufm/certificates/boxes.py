r"""Signs of functions over whole intervals of $\beta$, decided in balls and never on a grid.

Over $[a,b]$ with midpoint m a function is enclosed by its Taylor polynomial at m and by its n-th
coefficient over all of $[a,b]$: where a formula meets its variable several times, plain interval
arithmetic would need boxes as small as the cancellation, and this needs few.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ufm._classes.module import Displayed
from ufm._exact.decimals import printed_inside
from ufm._exact.fractions import flint
from ufm.certificates.balls import Ball

# Precision of the balls in bits: divided differences of high order cancel.
BITS = 256
# Order of the Taylor polynomials.
ORDER = 8

# Halvings of an interval of inner products.
DEPTH = 10

# Functions of one power series (of flint).
SeriesFunctions = Callable[[Any], Sequence[Any]]


class Sign(enum.Enum):
    """What is known of a condition, that something is positive."""

    FAILS = "fails"
    OPEN = "is not decided"
    HOLDS = "holds"

    @classmethod
    def of(cls, ball: Ball) -> Sign:
        """Of a ball whose numbers should be positive."""
        return cls.HOLDS if ball > 0 else cls.FAILS if ball < 0 else cls.OPEN


# From (low, high) to names of conditions, each with a ball of numbers that should be positive.
Conditions = Callable[[float, float], Iterable[tuple[str, Ball]]]


def decided(report: Iterable[tuple[str, Ball]]) -> list[tuple[str, Ball]]:
    """The conditions up to the first that does not hold; all of them where they do."""
    found = []
    for name, ball in report:
        found.append((name, ball))
        if Sign.of(ball) is not Sign.HOLDS:
            break
    return found


def sign_of(conditions: Conditions, low: float, high: float) -> tuple[Sign, str]:
    """What is known of all conditions on an interval.

    Parameters
    ----------
    conditions
        From an interval to pairs of a name and a ball that must be positive.
    low, high
        The interval [low, high].

    Returns
    -------
    tuple[Sign, str]
        The sign, and the name of the first condition that spoils it.
    """
    name, ball = decided(conditions(low, high))[-1]
    return Sign.of(ball), name


@dataclasses.dataclass(frozen=True)
class Interval(Displayed):
    r"""$\beta$ from `low` to `high`, both included; `high` may be infinite."""

    low: float
    high: float

    def __str__(self) -> str:
        low, high = printed_inside(self.low, self.high, 4)
        return f"[{low}, {'inf)' if self.high == float('inf') else f'{high}]'}"

    def __contains__(self, beta: float) -> bool:
        return bool(self.low <= beta <= self.high)


def enclosed(functions: SeriesFunctions, low: float, high: float, *, count: int) -> list[Ball]:
    """Balls that hold the values of several functions on an interval.

    Parameters
    ----------
    functions
        From a power series to those of the functions.
    low, high
        The interval [low, high].
    count
        How many functions there are.

    Returns
    -------
    list[Ball]
        Not finite where a series was divided by one that may vanish.
    """
    arb, arb_series = flint().arb, flint().arb_series
    box = arb(low).union(arb(high))
    middle = (arb(low) + arb(high)) / 2
    try:
        series = functions(arb_series([middle, 1], prec=ORDER))
        beyond = functions(arb_series([box, 1], prec=ORDER + 1))
    except (ZeroDivisionError, ValueError):
        # (a series was divided by one that may vanish)
        return [arb.nan()] * count
    pairs = zip(series, beyond, strict=True)
    return [_horner(each, rest[ORDER], box - middle) for each, rest in pairs]


def _horner(series, remainder: Ball, distance: Ball) -> Ball:
    for order in reversed(range(ORDER)):
        remainder = remainder * distance + series[order]
    return remainder


def lowest(function: Callable[[Ball], Ball], low: int, high: int) -> Ball:
    """A ball of numbers that no value of a function on an interval is below.

    Parameters
    ----------
    function
        From a ball to a ball.
    low, high
        The interval [low, high].

    Returns
    -------
    Ball
        Parts are halved until each is positive. The first that is negative, or too small to be
        decided, ends the search and is returned.
    """
    arb = flint().arb
    pending, least = [(arb(low), arb(high), 0)], arb.pos_inf()
    while pending:
        a, b, depth = pending.pop()
        value = function(a.union(b))
        if value > 0:
            least = least.min(value.lower())
        elif value < 0 or depth == DEPTH:
            return value
        else:
            middle = (a + b) / 2
            pending += [(middle, b, depth + 1), (a, middle, depth + 1)]
    return least


# What spoils a proof, the condition that it is about, and where.
Failure = tuple[Sign, str, Interval]


def first_failure(
    conditions: Conditions,
    low: float,
    high: float,
    *,
    width: float,
) -> Failure | None:
    """Where on an interval the conditions are not proved, and which.

    Parameters
    ----------
    conditions
        From an interval to pairs of a name and a ball that must be positive.
    low, high
        The interval [low, high].
    width
        Parts are halved until they are smaller than this.

    Returns
    -------
    Failure | None
        Sign, name and part; None where all hold.
    """
    sign, name = sign_of(conditions, low, high)
    if sign is Sign.HOLDS:
        return None
    if high - low <= width:
        return sign, name, Interval(low, high)
    # (a condition that fails on all of a part is shown where it does so first)
    middle = (low + high) / 2
    left = first_failure(conditions, low, middle, width=width)
    return left or first_failure(conditions, middle, high, width=width)


def holding_intervals(
    conditions: Conditions,
    low: float,
    high: float,
    *,
    width: float,
) -> tuple[Interval, ...]:
    """The maximal parts of an interval on which the conditions hold.

    Parameters
    ----------
    conditions
        From an interval to pairs of a name and a ball that must be positive.
    low, high
        The interval [low, high].
    width
        To which each end is found. Near 0, where what is relative decides, parts are halved
        further, to a 64th of that.

    Returns
    -------
    tuple[Interval, ...]
        Ascending, disjoint.
    """
    found: list[Interval] = []
    pending = [(low, high)]
    while pending:
        a, b = pending.pop()
        sign, _ = sign_of(conditions, a, b)
        if sign is Sign.HOLDS:
            if found and found[-1].high == a:
                a = found.pop().low
            found.append(Interval(a, b))
        elif sign is Sign.OPEN and b - a > max(min(width, a / 64), width / 64):
            middle = (a + b) / 2
            pending += [(middle, b), (a, middle)]
    return tuple(found)
