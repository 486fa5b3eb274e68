"""Balanced singles do not suffice: angles off the tag-wise average, and the value of an ETF."""

from __future__ import annotations

from theory_checks.engine.figures.data import Data, Need
from theory_checks.engine.figures.registry import figure
from theory_checks.engine.figures.style import COLOURS, MARKERS, TEXT, Figure, canvas, letter
from theory_checks.engine.registry import Setting
from theory_checks.papers.li2024.checks import SINGLES

_KEY = "li2024/balanced-singles"
_SHOWN = tuple(case for case in SINGLES if case.setting is Setting.INSIDE)
_NAMES = (
    "balanced",
    r"$\times 100$, $\lambda=10^{-3}$",
    r"$\times 100$, $\lambda=10^{-5}$",
    r"$\times 2$",
)


@figure("li2024/balanced-singles", Need(_KEY, _SHOWN, ("angles", "ETF and found")))
def balanced_singles(data: Data) -> Figure:
    """Five classes with 100 samples each alone, and one pair more frequent than the others: angle
    between the feature of a pair and the sum of its classes' features, and the value found, with
    its certificate, relative to the least value of any classifier that is a simplex ETF.

    Lines are what balanced singles would give, marks what minimisers end at from random starts.
    """
    drawn, axes = canvas(1, 2, width=TEXT, height=2.6)
    left, right = axes[0]
    for i, case in enumerate(_SHOWN):
        angles = data.one(_KEY, case).record("angles")
        left.plot(
            range(len(angles["degrees"])),
            angles["degrees"],
            MARKERS[i],
            color=COLOURS[i + 1],
            markersize=4,
            label=_NAMES[i],
        )
    angles = data.one(_KEY, _SHOWN[-1]).record("angles")
    pairs = [f"{int(i) + 1}{int(j) + 1}" for i, j in zip(angles["i"], angles["j"], strict=True)]
    left.axhline(0, color=COLOURS[0], linewidth=1, label="predicted")
    left.set_xticks(range(len(pairs)), pairs)
    left.set(xlabel="pair of classes", ylabel="degrees off $h_i + h_j$")
    rows = [data.one(_KEY, case).record("ETF and found") for case in _SHOWN]
    for name, marker, size, colour in (
        ("found", "o", 5, COLOURS[1]),
        ("certified", "_", 12, COLOURS[2]),
    ):
        below = [100 * (1 - float(row[name][0] / row["claimed"][0])) for row in rows]
        right.plot(range(len(rows)), below, marker, color=colour, markersize=size, label=name)
    right.axhline(0, color=COLOURS[0], linewidth=1, label="simplex ETF")
    right.set_xticks(range(len(rows)), _NAMES, fontsize=6, rotation=20)
    right.set(ylabel="% below the least of an ETF")
    right.set_yscale("symlog", linthresh=1e-3)
    right.set_ylim(-1e-3, 30)
    right.legend(loc="upper right", fontsize=6)
    letter(axes)
    drawn.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=5)
    return drawn
