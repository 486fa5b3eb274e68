"""Pages with code and what it prints: `python -m docs.site.fill PAGE…` writes the output in.

A block of Python that prints is followed by a plain block. All blocks of a page share their names.
"""

from __future__ import annotations

import contextlib
import io
import re
import sys
from collections.abc import Iterator
from pathlib import Path

_PAIR = re.compile(r"^```python\n(.*?)^```\n(?:\n```\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)


def shown(text: str) -> Iterator[tuple[str, str]]:
    """What each block with an output printed, and what the page shows. It runs all blocks."""
    for printed, found in _run(text):
        if found[2] is not None:
            yield printed, found[2]


def filled(text: str) -> str:
    """The page with what its blocks print."""
    parts, at = [], 0
    for printed, found in _run(text):
        if found[2] is not None:
            parts += [text[at : found.start(2)], printed]
            at = found.end(2)
    return "".join([*parts, text[at:]])


def _run(text: str) -> Iterator[tuple[str, re.Match]]:
    names: dict = {"__name__": "__main__"}
    for found in _PAIR.finditer(text):
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            # (a page does not postpone its annotations because this module does)
            exec(compile(found[1], "page", "exec", dont_inherit=True), names)
        yield out.getvalue(), found


if __name__ == "__main__":
    for name in sys.argv[1:]:
        path = Path(name)
        path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")
