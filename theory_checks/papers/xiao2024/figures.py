"""What a random support costs, and by how much rows of a head turn on a long tail."""

from __future__ import annotations

import numpy as np

from theory_checks.engine.figures.data import Data, Need
from theory_checks.engine.figures.registry import figure
from theory_checks.engine.figures.style import (
    COLOURS,
    MARKERS,
    REFERENCE,
    TEXT,
    Figure,
    canvas,
    letter,
)
from theory_checks.papers.xiao2024.checks import HEADS, SPARSE

_SPARSE, _HEAD = "xiao2024/sparse-frame", "xiao2024/renormalised-head"


@figure(
    "xiao2024/sparse-and-renormalised",
    Need(_SPARSE, SPARSE, ("sparse",)),
    Need(_HEAD, HEADS, ("rows",)),
)
def sparse_and_renormalised(data: Data) -> Figure:
    """Error of the best sparse frame of ten columns on random supports, dotted where unknowns run
    out; length and direction of the rows of the best head on features of a fixed simplex ETF, the
    length being all that renormalisation repairs."""
    drawn, axes = canvas(1, 3, width=TEXT, height=2.4)
    left, middle, right = axes[0]
    rows = [data.one(_SPARSE, case).record("sparse") for case in SPARSE]
    for i, d in enumerate((20, 12)):
        points = [(float(r["density"][0]), float(r["error"][0])) for r in rows if r["d"][0] == d]
        density, error = map(np.array, zip(*points, strict=True))
        style = {"color": COLOURS[i + 1], "label": f"$d = {d}$", "markersize": 4}
        left.semilogy(density, np.maximum(error, 1e-16), MARKERS[i], **style)
        end = next(x for x in np.linspace(0.1, 1, 901) if d * (10 * x - 1 + (1 - x) ** 10) >= 45)
        left.axvline(end, **{**REFERENCE, "color": COLOURS[i + 1]})
    left.set(xlabel="density", ylabel=r"$\|V^\top V-aP\|_{\max}$", ylim=(1e-17, 3))
    # (below the panel: in it its marks look like more of the data)
    drawn.legend(*left.get_legend_handles_labels(), loc="outside lower left", ncols=2)
    for i, case in enumerate(HEADS):
        record = data.one(_HEAD, case).record("rows")
        share = record["count"] / record["count"].max()
        order, length = np.argsort(share), record["length"] / record["length"].mean()
        style = {"color": COLOURS[i], "marker": MARKERS[i], "markersize": 3, "linewidth": 1}
        middle.semilogx(share[order], length[order], label=case.id, **style)
        right.semilogx(share[order], record["degrees"][order], **style)
    middle.set(xlabel=r"$n_k/n_{\max}$", ylabel=r"$\|w_k\|$, of the mean")
    right.set(xlabel=r"$n_k/n_{\max}$", ylabel=r"degrees between $w_k$ and $v_k$")
    middle.legend(fontsize=6)
    letter(axes)
    return drawn
