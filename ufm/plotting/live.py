"""Pictures that follow controls: the latest values are drawn, and those in between are not.

No library of widgets is needed here: a control calls what it is given.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable


class Live:
    """A drawing that many events ask for, and that is made once for all that have come.

    Calling it says that something has changed. The drawing follows when the event loop has had half
    as long to take in what else was waiting as the last drawing took, so that a drag of a slider,
    whose events come faster than pictures are drawn, leaves no queue of stale ones behind on a slow
    machine either. Where no event loop runs, it is made at once.

    Parameters
    ----------
    draw
        Draws the present state, and is called without arguments.
    wait
        Seconds for which further events are taken in before a drawing, at least.

    Attributes
    ----------
    drawings
        How many were made.
    seconds
        That the last one took.

    Notes
    -----
    `control.observe(live, names="value")` for the controls of ipywidgets. Within a cell of a
    notebook the drawing comes after the cell; `now()` makes it at once.
    """

    def __init__(self, draw: Callable[[], object], *, wait: float = 0.01):
        self._draw, self._wait = draw, wait
        self._waiting: asyncio.TimerHandle | None = None
        self.drawings, self.seconds = 0, 0.0

    def __call__(self, event: object = None) -> None:
        """Ask for a drawing.

        Parameters
        ----------
        event
            What has changed, as controls tell; the drawing finds out by itself.
        """
        if self._waiting is not None:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.now()
            return
        # events come while a picture is drawn: they need a share of the time that drawings take
        self._waiting = loop.call_later(max(self._wait, self.seconds / 2), self.now)

    def now(self) -> None:
        """Draw at once; what has been asked for until now is then done."""
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
        began = time.perf_counter()
        self._draw()
        self.seconds = time.perf_counter() - began
        self.drawings += 1
