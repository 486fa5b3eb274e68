"""Spread within classes against the share of a random draw in a graph's operator."""

from __future__ import annotations

import numpy as np

from theory_checks.engine.figures.data import Data, Need
from theory_checks.engine.figures.registry import figure
from theory_checks.engine.figures.style import COLOURS, COLUMN, Figure, canvas
from theory_checks.papers.kothapalli2023.checks import EQUITABLE

_CHECK = "kothapalli2023/equitable-partition"
_SHOWN = tuple(c for c in EQUITABLE if c.id.startswith("alike") or c.parameters["share"] > 0)


@figure("kothapalli2023/spread", Need(_CHECK, _SHOWN, ("spread",)))
def spread(data: Data) -> Figure:
    """Spread of the features within their classes, relative to their size, when a random draw
    takes a share of the operator from a graph with an equitable partition: zero without it, and in
    proportion to the share.

    Marks are what minimisers end at from random starts, certified to the gap that is given.
    """
    drawn, axes = canvas(1, 1, width=COLUMN, height=2.2)
    ax = axes[0, 0]
    records = [data.one(_CHECK, case).record("spread") for case in _SHOWN]
    share = np.array([float(r["share"][0]) for r in records])
    found = np.array([float(r["spread"][0]) for r in records])
    most = max(float(r["gap"][0]) for r in records)
    label = f"found, gaps below {10.0 ** np.ceil(np.log10(most)):.0e}"
    order = np.geomspace(0.004, 1.3, 50)
    first = np.argsort(share)[1]
    slope = found[first] / share[first]
    ax.loglog(order, slope * order, color=COLOURS[0], label="in proportion to the share")
    # without a draw it is a rounding error
    shown = np.where(share > 0, share, 1e-3)
    ax.loglog(shown, np.maximum(found, 1e-16), "o", color=COLOURS[1], markersize=4, label=label)
    ax.set_xticks([1e-3, 0.01, 0.1, 1], ["0", "0.01", "0.1", "1"])
    ax.set_xticks([], minor=True)
    ax.set(xlabel="share of a random draw", ylabel="spread within classes", ylim=(1e-17, 1e5))
    ax.legend(loc="upper left", fontsize=6)
    return drawn
