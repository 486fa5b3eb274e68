"""Rows as they are done.

The table of a paper is printed when its last case is, and lost output costs no numbers.
"""

from __future__ import annotations

import collections
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence

from theory_checks.engine import markdown, runner, terminal
from theory_checks.engine.registry import Case, Check, Paper
from theory_checks.engine.runner import Row, Run
from theory_checks.engine.terminal import Layout, Look
from ufm._system.progress import Progress


def look_of(screen, *, verbose: bool, records: bool, prove: bool = False) -> Look:
    """How to show things here.

    Colours on a terminal only, and none where the user asks for none.
    """
    terminal_here = screen.isatty()
    width = (
        shutil.get_terminal_size((terminal.WIDTH, 24)).columns if terminal_here else terminal.WIDTH
    )
    return Look(
        max(width, 60), terminal_here and "NO_COLOR" not in os.environ, verbose, records, prove
    )


class Printer:
    """Prints rows in one of the formats.

    `gone`: nobody reads any more, and nothing more is printed.
    """

    def __init__(
        self,
        plan: Sequence[tuple[Check, Case]],
        papers: Mapping[str, Paper | str],
        look: Look,
        *,
        form: str,
    ):
        self.papers, self.look, self.form = papers, look, form
        self.checks = list(dict.fromkeys(check for check, _ in plan))
        self.left = collections.Counter(check.paper for check, _ in plan)
        self.waiting: dict[str, list[Row]] = {}
        self.layout = Layout.of(self.checks, look)
        self.begun = self.gone = False
        self.progress = Progress("cases", total=len(plan), patience=0.0, left="about")

    def on_case(self, done: int, total: int, check: Check, case: Case) -> None:
        """Say on a terminal how far the run is."""
        self.progress.update(done, f"{check.key}: {case.id}")

    def add(self, row: Row) -> None:
        """Take a row, and print its paper if that was its last."""
        self.waiting.setdefault(row.paper, []).append(row)
        self.left[row.paper] -= 1
        if not self.left[row.paper]:
            self._paper(row.paper)

    def close(self, rows: Sequence[Row], *, run: Run, hints: Iterable[str]) -> None:
        """Print what was begun and not done, and the closing words."""
        self.progress.close()
        for paper in list(self.waiting):
            self._paper(paper)
        if self.form == "plain":
            self._print(terminal.closing(rows, self.look, run=run, hints=hints))
        elif self.form == "github":
            self._print(markdown.closing(rows, run=run))

    def _paper(self, key: str) -> None:
        rows = runner.in_order(self.waiting.pop(key), self.checks)
        title = str(self.papers.get(key, key))
        if self.form == "plain":
            self._print(
                [*([] if self.begun else self.layout.heading()), *self.layout.paper(title, rows)]
            )
        elif self.form == "github":
            self._print(markdown.paper(title, rows))
        self.begun = True

    def _print(self, lines: Iterable[str]) -> None:
        if self.gone:
            return
        self.progress.close()
        try:
            print("\n".join(lines), flush=True)
        except BrokenPipeError:
            self.gone = True
