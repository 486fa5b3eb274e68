"""Class-dependent temperatures: lengths and angles of a step, and the value of an ETF."""

from __future__ import annotations

import numpy as np

from theory_checks.engine.figures.data import Data, Need
from theory_checks.engine.figures.registry import figure
from theory_checks.engine.figures.style import (
    COLOURS,
    COLUMN,
    MARKERS,
    TEXT,
    Figure,
    canvas,
    letter,
)
from theory_checks.papers.behnia2023.checks import TEMPERATURES, limit_rows
from theory_checks.papers.behnia2023.simplex import MARGINS

_KEY, _STEP = "behnia2023/temperatures-for-an-etf", (10, 10, 1, 1)
_SHOWN = tuple(case for case in TEMPERATURES if case.id.startswith("step"))
_GAMMAS = (0.5, 0.75, 1.0)


@figure("behnia2023/temperatures", Need(_KEY, _SHOWN, ("lengths and cosines", "ETF and found")))
def class_temperatures(data: Data) -> Figure:
    """Class-dependent temperatures $(n_k/n_{max})^\\gamma$ on two classes of ten samples and two of
    one: length of a minority row over that of a majority row, cosine between the minority rows, and
    the value found, with its certificate, relative to the least of any simplex ETF.

    Solid lines are the limit of vanishing decay, marks what minimisers end at for λ = 1e-5.
    """
    drawn, axes = canvas(1, 3, width=TEXT, height=2.4)
    rows = [data.one(_KEY, case).record("lengths and cosines") for case in _SHOWN]
    grid = np.linspace(0, 1.2, 61)
    limit = np.array([limit_rows(_STEP, float(gamma)) for gamma in grid])
    measured = (
        [float(row["length"][3] / row["length"][0]) for row in rows],
        [float(row["cosine to the next"][2]) for row in rows],
    )
    names = (r"$\|w_{min}\| / \|w_{maj}\|$", r"$\cos\angle(w_{min}, w_{min}')$")
    for i, (ax, name, etf) in enumerate(zip(axes[0], names, (1, -1 / 3), strict=False)):
        ax.plot(grid, limit[:, i], color=COLOURS[0], label=r"limit $\lambda\to0$")
        ax.plot(_GAMMAS, measured[i], "o", color=COLOURS[1], markersize=4, label="found")
        ax.axhline(etf, color="0.45", linewidth=0.8, linestyle=":", label="simplex ETF")
        ax.set(xlabel=r"$\gamma$", ylabel=name)
    right = axes[0, 2]
    values = [data.one(_KEY, case).record("ETF and found") for case in _SHOWN]
    for name, marker, size, colour in (
        ("found", "o", 4, COLOURS[1]),
        ("certified", "_", 12, COLOURS[2]),
    ):
        below = [100 * (1 - float(row[name][0] / row["claimed"][0])) for row in values]
        right.plot(_GAMMAS, below, marker, color=colour, markersize=size, label=name)
    right.axhline(0, color="0.45", linewidth=0.8, linestyle=":")
    right.set(xlabel=r"$\gamma$", ylabel="% below the least of an ETF", xlim=(-0.05, 1.25))
    letter(axes)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    more, names_more = right.get_legend_handles_labels()
    drawn.legend([*handles, more[1]], [*labels, names_more[1]], loc="outside lower center", ncols=4)
    return drawn


_MARGINS = tuple(case for case in MARGINS if case.parameters["class_counts"] == (8, 4, 2, 1))
_LABELS = ("margins of the closed form", "no margins", "$\\propto n^{-1/4}$", "of twice the decay")
_TAIL = tuple(case for case in _MARGINS if case.id != "where it is zero")


@figure("behnia2023/margins", Need("behnia2023/margins-for-an-etf", _TAIL, ("rows",)))
def margins(data: Data) -> Figure:
    """Lengths of the classifier's rows with margins of the true class, on classes of 8, 4, 2 and 1
    samples: equal, and a simplex, for the margins in closed form at this decay alone.

    Lines are the prediction for those margins, marks what minimisers end at from random starts,
    each certified to the largest relative gap that is given.
    """
    drawn, axes = canvas(1, 1, width=COLUMN, height=2.5)
    ax = axes[0, 0]
    # W Wᵀ = 4 P
    ax.axhline(3**0.5, color=COLOURS[0], label="predicted")
    for i, case in enumerate(_TAIL):
        record = data.one("behnia2023/margins-for-an-etf", case).record("rows")
        style = {"color": COLOURS[i + 1], "marker": MARKERS[i], "linewidth": 0.6, "markersize": 4}
        ax.semilogx(record["count"], record["length"], label=_LABELS[i], **style)
    most = max(
        float(data.one("behnia2023/margins-for-an-etf", case).record("rows")["gap"].max())
        for case in _TAIL
    )
    ax.plot([], [], " ", label=f"gaps below {10.0 ** np.ceil(np.log10(most)):.0e}")
    ax.set_xticks([1, 2, 4, 8], ["1", "2", "4", "8"])
    ax.set_xticks([], minor=True)
    ax.set(xlabel="samples of the class", ylabel=r"$\|w_k\|$", ylim=(0.1, 3.3))
    ax.legend(loc="lower left", fontsize=6)
    return drawn
