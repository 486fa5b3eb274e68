"""Garrod & Keating 2025: the objective at the ETF against structures of low rank, over classes and
layers, and where it is beaten."""

from __future__ import annotations

import numpy as np

from theory_checks.engine.figures.data import Data, Need
from theory_checks.engine.figures.registry import figure
from theory_checks.engine.figures.style import (
    COLOURS,
    COLUMN,
    DASHES,
    MARKERS,
    Figure,
    canvas,
    letter,
)
from theory_checks.papers.garrod2024.checks import MAP, MAP_DECAY

NEEDS = tuple(Need(check, cases, ("values",)) for check, cases in MAP.items())
_DEPTHS = (1, 2, 3, 5)
_CURVES = (
    ("ETF", "simplex ETF"),
    ("pairs", "pairs (odd $K$: and a triple or single)"),
    ("circle", "circle"),
    ("best known", "best known"),
)


def table(data: Data) -> dict[str, np.ndarray]:
    """The columns of all records, one entry a pair (K, M), and "structure", the name of the best
    one in closed form."""
    sources = [source for check in MAP for source in data.of(check)]
    records = [source.record("values") for source in sources]
    columns = {name: np.concatenate([record[name] for record in records]) for name in records[0]}
    return {
        **columns,
        "structure": np.array(
            [source.full_name("values").rpartition(" is ")[2] for source in sources]
        ),
    }


@figure("garrod2024/etf-against-low-rank", *NEEDS)
def etf_against_low_rank(data: Data) -> Figure:
    """Objective at the structures in closed form and at the best point found, relative to that at
    the simplex ETF, for M = 1, 2, 3, 5 linear layers and λ = 0.01."""
    values = table(data)
    drawn, axes = canvas(1, len(_DEPTHS), height=2.0, sharex=True, sharey=True)
    for ax, M in zip(axes[0], _DEPTHS, strict=True):
        chosen = np.flatnonzero(values["M"] == M)
        chosen = chosen[np.argsort(values["K"][chosen])]
        for i, (name, label) in enumerate(_CURVES):
            best = name == "best known"
            ax.plot(
                values["K"][chosen],
                values[name][chosen] / values["ETF"][chosen],
                color=COLOURS[-1] if best else COLOURS[i],
                linestyle="none" if best else DASHES[i],
                marker="x" if best else MARKERS[i],
                markerfacecolor="white",
                label=label,
                zorder=4 if best else 3,
            )
        ax.set_title(rf"$M = {M}$")
        ax.set_xlabel("classes $K$")
    axes[0, 0].set_ylabel("objective / that at the ETF")
    letter(axes)
    drawn.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return drawn


# shorter names of the structures; all others are direct sums of several blocks
_STRUCTURES = {"simplex ETF": "ETF", "pairs": "pairs", "circle": "circle"}


@figure("ours/etf-beaten", *NEEDS)
def etf_beaten(data: Data) -> Figure:
    """How far the best known point of deep cross-entropy lies below the simplex ETF (colour), its
    rank and its structure.

    "sum": a direct sum of simplices and circles; "other": a search found a lower value than every
    structure in closed form.
    """
    values = table(data)
    drawn, axes = canvas(width=COLUMN, height=2.6)
    ax = axes[0, 0]
    Ks, Ms = np.unique(values["K"]).astype(int), np.unique(values["M"]).astype(int)
    percent = np.full((len(Ms), len(Ks)), np.nan)
    names = ("K", "M", "percent below", "rank", "best known", "closed form", "structure")
    for K, M, below, rank, best, closed, structure in zip(
        *(values[name] for name in names), strict=True
    ):
        i, j = np.searchsorted(Ms, M), np.searchsorted(Ks, K)
        percent[i, j] = below = max(below, 0.0)
        # two converged values agree far better than this
        name = "other" if best < closed * (1 - 1e-6) else _STRUCTURES.get(structure, "sum")
        colour = "white" if below > 17 else "black"
        ax.text(j, i + 0.15, f"{rank:.0f}", ha="center", va="center", color=colour)
        ax.text(j, i - 0.25, name, ha="center", va="center", color=colour, fontsize=6)
    image = ax.imshow(percent, cmap="cividis_r", vmin=0, aspect="auto", origin="lower")
    ax.set_xticks(range(len(Ks)), [str(K) for K in Ks])
    ax.set_yticks(range(len(Ms)), [str(M) for M in Ms])
    ax.set(xlabel="classes $K$", ylabel="linear layers $M$")
    ax.tick_params(length=0)
    ax.grid(False)
    drawn.colorbar(image, ax=ax, label=rf"below the ETF / %, $\lambda = {MAP_DECAY}$")
    return drawn
