"""How a run ended."""

from __future__ import annotations

import enum


class Result(enum.IntEnum):
    """How a run ended. `str()` of it reads as advice; how to go on is known to what was run."""

    RUNNING = 0
    CONVERGED = 1
    STALLED = 2
    MAX_STEPS = 3
    DIVERGED = 4
    INTERRUPTED = 5
    REACHED_END = 6
    STEADY_STATE = 7
    TOLERANCE_NOT_MET = 8
    POLISHED = 9
    PROVED = 10

    def __str__(self) -> str:
        return f"{self.name}: {_ADVICE[self]}"

    @property
    def unfinished(self) -> bool:
        """Whether the run was ended from outside and could go on."""
        return self in (Result.MAX_STEPS, Result.INTERRUPTED)

    @property
    def ok(self) -> bool:
        """Whether the run did what was asked of it."""
        return self in _OK


_OK = (
    Result.CONVERGED,
    Result.REACHED_END,
    Result.STEADY_STATE,
    Result.POLISHED,
    Result.PROVED,
)
_ADVICE = {
    Result.RUNNING: "not finished",
    Result.CONVERGED: "the relative gradient norm is below the tolerance",
    Result.STALLED: "no step improves on rounding noise, yet the gradient is above the "
    "tolerance; loosen `tolerance` or use float64",
    Result.MAX_STEPS: "the step budget is spent; raise `max_steps`",
    Result.DIVERGED: "value or gradient became infinite or NaN; use a smaller step size or start",
    Result.INTERRUPTED: "stopped from the keyboard",
    Result.REACHED_END: "integrated to the last time",
    Result.STEADY_STATE: "the gradient vanished before the last time; later rows repeat the "
    "steady state",
    Result.TOLERANCE_NOT_MET: "the integrator could not meet its tolerance; rows after the "
    "failure are NaN",
    Result.POLISHED: "as STEADY_STATE, and Newton's method went on to the minimum, which is "
    "`final`",
    Result.PROVED: "globally optimal to the gap that was asked for, see `certificate`",
}
