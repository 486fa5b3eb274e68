"""One line of progress on a terminal: what, how far, how long.

Nothing in a pipe, nothing for work under a second.
"""

from __future__ import annotations

import sys
import time


class Progress:
    """A line on standard error, rewritten at most ten times a second.

    `show=None` shows it on a terminal only.

    `left`: how sure the time left is, "at most" where `total` is a budget.
    """

    def __init__(
        self,
        what: str,
        *,
        total: float | None,
        show: bool | None = None,
        patience: float = 1.0,
        left: str = "at most",
    ):
        self.what, self.total, self.left = what, total, left
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
        far, clock = f"{done:.6g}", f"{elapsed:.0f} s"
        if self.total:
            far += f" of {self.total:.6g} ({100 * done / self.total:.0f} %)"
        if self.total and done > 0:
            clock += f", {self.left} {elapsed * (self.total - done) / done:.0f} s left"
        sys.stderr.write(f"\r\x1b[K{self.what}: {far}, {clock}{', ' if note else ''}{note}")
        sys.stderr.flush()
        self.last, self.wrote = now, True

    def close(self) -> None:
        """Clear the line."""
        if self.wrote:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
