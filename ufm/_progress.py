"""One line of progress on a terminal: what, how far, how long. Nothing in a pipe, nothing for work under a second."""

from __future__ import annotations

import sys
import time


class Progress:
    """A line on standard error, rewritten at most ten times a second; `show=None` shows it on a terminal only."""

    def __init__(self, what: str, *, total: float | None, show: bool | None = None, patience: float = 1.0):
        self.what, self.total = what, total
        self.shown = sys.stderr.isatty() if show is None else show
        self.began = time.monotonic()
        self.last = self.began + patience - 0.1
        self.wrote = False

    def update(self, done: float, note: str = "") -> None:
        """Say how far it is."""
        now = time.monotonic()
        if not self.shown or now - self.last < 0.1:
            return
        elapsed = now - self.began
        far = f"{done:.6g}"
        if self.total:
            left = elapsed * (self.total - done) / done if done > 0 else float("nan")
            far += f" of {self.total:.6g} ({100 * done / self.total:.0f} %)"
            clock = f"{elapsed:.0f} s, at most {left:.0f} s left"
        else:
            clock = f"{elapsed:.0f} s"
        sys.stderr.write(f"\r\x1b[K{self.what}: {far}, {clock}{', ' if note else ''}{note}")
        sys.stderr.flush()
        self.last, self.wrote = now, True

    def close(self) -> None:
        """Clear the line."""
        if self.wrote:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
