"""Where descents on the Stiefel manifold end, against one polar factor."""

from __future__ import annotations

import numpy as np

from theory_checks.engine.figures.data import Data, Need
from theory_checks.engine.figures.registry import figure
from theory_checks.engine.figures.style import (
    COLOURS,
    COLUMN,
    EPS,
    REFERENCE,
    Figure,
    canvas,
)
from theory_checks.papers.markou2024.checks import NEAREST

_CHECK = "markou2024/nearest"
_NAMES = ("no prox", "δ=0.05", "K=10", "rank K−2, δ=0.05", "rank K−2")


@figure("markou2024/nearest", Need(_CHECK, NEAREST, ("frames",)))
def nearest(data: Data) -> Figure:
    """Riemannian descents from random starts to the nearest simplex ETF: how far the frames at
    which they end are from the polar factor, and how far their values are above the bound by a
    nuclear norm.

    Where a value reaches the bound its frame is the polar factor, unless the matrix that is
    factored lacks a rank. One descent in ten dimensions stops where it is stationary only.
    """
    drawn, axes = canvas(1, 1, width=COLUMN, height=2.4)
    ax = axes[0, 0]
    for i, case in enumerate(NEAREST):
        record = data.one(_CHECK, case).record("frames")
        above = np.abs(record["found"] / record["bound"] - 1)
        for j, (values, label, marker) in enumerate(
            (
                (record["apart"], "frame, from the polar factor", "o"),
                (above, "value, above the bound", "_"),
            )
        ):
            places = i + 0.3 * (np.arange(len(values)) / max(1, len(values) - 1) - 0.5)
            shown = np.maximum(values, EPS / 2)
            style = {"color": COLOURS[j + 1], "markersize": 4 + 4 * j}
            ax.semilogy(places, shown, marker, label=None if i else label, **style)
    ax.axhline(EPS, **REFERENCE)
    ax.set_xticks(range(len(NEAREST)), _NAMES, rotation=25, ha="right", fontsize=6)
    ax.set(ylabel="distance", ylim=(3e-17, 1e3))
    ax.legend(loc="upper left", fontsize=6)
    return drawn
