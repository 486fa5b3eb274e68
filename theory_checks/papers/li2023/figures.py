"""Where balanced softmax sends features, how much lower that is, and what averaging ends at."""

from __future__ import annotations

import numpy as np

from theory_checks.engine.figures.data import Data, Need
from theory_checks.engine.figures.registry import figure
from theory_checks.engine.figures.style import COLOURS, MARKERS, TEXT, Figure, canvas, letter
from theory_checks.papers.li2023.checks import ALIGNED, BESIDE
from theory_checks.papers.li2023.federation import AVERAGED

_ALIGNED, _MISSING, _AVERAGING = "li2023/aligned", "li2023/missing-class", "li2023/averaging"
_NAMES = ("others equal", "one missing", "one of nine", "100 … 1", "one doubled")


@figure(
    "li2023/balanced-softmax",
    Need(_MISSING, BESIDE, ("angle",)),
    Need(_ALIGNED, ALIGNED, ("aligned and found",)),
    Need(_AVERAGING, AVERAGED, ("averaging",)),
)
def balanced_softmax(data: Data) -> Figure:
    """Balanced softmax on a fixed simplex ETF of ten classes: cosine of a feature with its own row
    if the client has m other classes; the value found against the least value of features along
    their rows, certified; and the error of a learned Gram after averaging with E local steps.

    Lines are predictions, marks what minimisers end at from random starts.
    """
    drawn, axes = canvas(1, 3, width=TEXT, height=2.3)
    left, middle, right = axes[0]
    angles = [data.one(_MISSING, case).record("angle") for case in BESIDE]
    m = np.linspace(1, 9, 200)
    left.plot(m, np.sqrt(10 / 9 * m / (m + 1)), color=COLOURS[0], label="predicted")
    found = [float(angle["cosine"][0]) for angle in angles]
    others = [float(angle["others"][0]) for angle in angles]
    most = max(float(angle["gap"][0]) for angle in angles)
    label = f"found, gaps\nbelow {10.0 ** np.ceil(np.log10(most)):.0e}"
    left.plot(others, found, "o", color=COLOURS[1], markersize=4, label=label)
    left.axhline(1, color="0.45", linewidth=0.8, linestyle=":")
    left.set(xlabel="other classes $m$ on the client", ylabel=r"$\cos\angle(h_y, v_y)$")
    left.set_xticks([1, 3, 5, 7, 9])
    left.legend(loc="lower right", fontsize=6)

    rows = [data.one(_ALIGNED, case).record("aligned and found") for case in ALIGNED]
    for i, (name, marker, colour) in enumerate(
        (("found", "o", COLOURS[1]), ("lower", "_", COLOURS[2]))
    ):
        share = [float(row[name][0] / row["aligned"][0]) for row in rows]
        label = ("found", "certificate")[i]
        middle.plot(
            range(len(rows)), share, marker, color=colour, label=label, markersize=5 + 4 * i
        )
    middle.axhline(1, color=COLOURS[0], linewidth=1, label="features along rows")
    middle.set_xticks(range(len(rows)), _NAMES, rotation=35, ha="right", fontsize=6)
    middle.set(ylabel="value, of the least along rows", ylim=(0.6, 1.3))
    middle.legend(loc="upper right", fontsize=6)

    for i, case in enumerate(AVERAGED[1:]):
        record = data.one(_AVERAGING, case).record("averaging")
        right.loglog(
            record["eta"] * (record["steps"] - 1),
            record["error"],
            MARKERS[i],
            color=COLOURS[i + 1],
            markersize=4,
            label=case.id.replace("counts without", "no"),
        )
    first = data.one(_AVERAGING, AVERAGED[1]).record("averaging")
    eta = np.array([0.25, 1.5])
    slope = first["error"][-1] / first["eta"][-1]
    right.loglog(eta, slope * eta, color=COLOURS[0], linewidth=0.8, label=r"$\propto\eta(E-1)$")
    right.set(xlabel=r"$\eta\,(E-1)$", ylabel=r"error of $WW^\top$")
    right.set_xticks([0.25, 0.5, 1.0], ["1/4", "1/2", "1"], minor=False)
    right.set_xticks([], minor=True)
    right.set_yticks([2e-3, 4e-3, 8e-3], ["0.002", "0.004", "0.008"])
    right.set_yticks([], minor=True)
    right.set(xlim=(0.22, 2.2), ylim=(6e-4, 1.2e-2))
    right.legend(loc="lower right", fontsize=6)
    letter(axes)
    return drawn
