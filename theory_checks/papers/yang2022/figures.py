"""Three frames of one value under dot regression, and of three under cross-entropy."""

from __future__ import annotations

import numpy as np

from theory_checks.engine.figures.data import Data, Need
from theory_checks.engine.figures.registry import figure
from theory_checks.engine.figures.style import COLOURS, COLUMN, MARKERS, Figure, canvas
from theory_checks.papers.yang2022.checks import TIES

_CHECK = "yang2022/learned"
_SHAPES = ("simplex ETF", "orthogonal frame", "rank one")


@figure("yang2022/ties", Need(_CHECK, TIES, ("ties",)))
def ties(data: Data) -> Figure:
    """Value of three shapes of logits with the diagonal that dot regression asks for, over the
    least value that is found from random starts and certified: they tie for every decay, and do
    not under cross-entropy."""
    drawn, axes = canvas(1, 1, width=COLUMN, height=2.3)
    ax = axes[0, 0]
    records = [data.one(_CHECK, case).record("ties") for case in TIES]
    places = np.arange(len(records))
    for i, shape in enumerate(_SHAPES):
        ratios = [float(record["values"][i] / record["found"][0]) for record in records]
        style = {"color": COLOURS[i], "marker": MARKERS[i], "linestyle": "none"}
        ax.semilogy(places + 0.18 * (i - 1), ratios, label=shape, markersize=5, **style)
    ax.axhline(1, color="0.45", linewidth=0.8, linestyle=":")
    names = ["λ=0.02", "λ=0.1", "threshold", "λ=0.5", "cross-entropy"]
    ax.set_xticks(places, names, rotation=25, ha="right", fontsize=6)
    ax.set_yticks([1, 2, 4], ["1", "2", "4"])
    ax.set_yticks([], minor=True)
    ax.set_ylabel("value over the least found")
    ax.legend(fontsize=6)
    return drawn
