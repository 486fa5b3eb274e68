"""What a picture holds, read back from its axes."""

from __future__ import annotations

import numpy as np


def lines(ax) -> dict[str, np.ndarray]:
    """What is drawn, by label; the first line of a label counts."""
    found = {}
    for line in ax.get_lines():
        found.setdefault(line.get_label(), np.array(line.get_data(), dtype=float))
    return found


def legend(ax) -> list[str]:
    """The entries of the legend."""
    return [text.get_text() for text in ax.get_legend().get_texts()]
