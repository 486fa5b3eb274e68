"""The value of residual chains over depth, above that of the reduced model."""

from __future__ import annotations

from theory_checks.engine.figures.data import Data, Need
from theory_checks.engine.figures.registry import figure
from theory_checks.engine.figures.style import COLOURS, COLUMN, MARKERS, Figure, canvas
from theory_checks.papers.sukenik2025.depth import CHAINS

_CHECK = "sukenik2025/value-over-depth"


@figure("sukenik2025/value-over-depth", Need(_CHECK, CHAINS, ("over depth",)))
def value_over_depth(data: Data) -> Figure:
    """Least value of a linear residual chain under squared error, three classes from inputs of
    cosine .8, decay .02, above that of the reduced model and relative to it: one and two matrices
    a block; dotted, an exponent of −1."""
    drawn, axes = canvas(1, 1, width=COLUMN, height=2.6)
    ax = axes[0, 0]
    for i, case in enumerate(CHAINS):
        source = data.one(_CHECK, case)
        record, single = source.record("over depth"), source.parameters["matrices"] == 1
        label = "one matrix a block" if single else "two"
        ax.plot(record["L"], record["above"], color=COLOURS[i], marker=MARKERS[i], label=label)
        if single:
            last = record["above"][-1] * record["L"][-1]
            ax.plot(record["L"], last / record["L"], color="0.4", ls=":", label="$1/L$")
    ax.set(xscale="log", yscale="log", xlabel="blocks $L$", ylabel=r"$(F_L-F_\infty)/F_\infty$")
    ax.set_xscale("log", base=2)
    ax.legend()
    return drawn
