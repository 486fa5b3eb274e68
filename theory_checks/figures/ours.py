"""Figures that no paper has: phases of minority collapse, where the ETF is beaten, certificate gaps along the way."""

from __future__ import annotations

import numpy as np

from theory_checks.figures import garrod2024
from theory_checks.figures.data import Data, Need
from theory_checks.figures.registry import figure
from theory_checks.figures.style import COLOURS, COLUMN, DASHES, EPS, MARKERS, REFERENCE, Figure, canvas, letter
from theory_checks.garrod2024 import MAP_DECAY
from theory_checks.phase_diagram import PHASES

_PHASES = "hong2023/phase-diagram"
_MAPS = {"(5, 5), 30 × 24 points": "5 majority, 5 minority classes", "(3, 7), 30 × 24 points": "3 majority, 7 minority classes"}
# a shape of its own for each, because two of the colours are the same grey
_FILLS = ("#56B4E9", "#009E73", "#D55E00", "#000000")
_SHAPES = ("o", "s", "^", "x")


@figure("ours/phase-diagram", Need(_PHASES, tuple(_MAPS), ("phases", "thresholds")))
def phase_diagram(data: Data) -> Figure:
    """Phases of minority collapse under cross-entropy: measured at the minimum (markers), thresholds in closed form (lines)."""
    drawn, axes = canvas(1, 2, height=2.9, sharey=True)
    for ax, (case, title) in zip(axes[0], _MAPS.items(), strict=True):
        source = data.one(_PHASES, case)
        points, curves = source.record("phases"), source.record("thresholds")
        for phase, (name, fill, shape) in enumerate(zip(PHASES, _FILLS, _SHAPES, strict=True)):
            here = points["phase"] == phase
            ax.plot(points["R"][here], points["s"][here], linestyle="none", marker=shape, markersize=2.2, color=fill, label=name)
        lines = (("merge", "-", r"$s = 1$"), ("vanish", "--", r"$s = s_2(R)$"), ("zero", "-.", r"$s = \sqrt{R}$"))
        for name, dash, label in lines:
            ax.plot(curves["R"], curves[name], color="0.15", linestyle=dash, linewidth=1.4, label=label, zorder=4)
        ax.set(xscale="log", yscale="log", xlabel=r"imbalance $R = n_A / n_B$", title=title)
        ax.set_ylim(points["s"].min() / 1.1, points["s"].max() * 1.1)
        ax.set_xlim(1, 100)
    axes[0, 0].set_ylabel(r"decay $s = N\sqrt{\lambda_W\lambda_H / n_B}$")
    letter(axes)
    drawn.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4, markerscale=1.8)
    return drawn


# shorter names of the structures; all others are direct sums of several blocks
_STRUCTURES = {"simplex ETF": "ETF", "pairs": "pairs", "circle": "circle"}


@figure("ours/etf-beaten", *garrod2024.NEEDS)
def etf_beaten(data: Data) -> Figure:
    """How far the best known point of deep cross-entropy lies below the simplex ETF (colour), its rank and its structure.

    "sum": a direct sum of simplices and circles; "other": a search found a lower value than every structure in closed form.
    """
    values = garrod2024.table(data)
    drawn, axes = canvas(width=COLUMN, height=2.6)
    ax = axes[0, 0]
    Ks, Ms = np.unique(values["K"]).astype(int), np.unique(values["M"]).astype(int)
    percent = np.full((len(Ms), len(Ks)), np.nan)
    names = ("K", "M", "percent below", "rank", "best known", "closed form", "structure")
    for K, M, below, rank, best, closed, structure in zip(*(values[name] for name in names), strict=True):
        i, j = np.searchsorted(Ms, M), np.searchsorted(Ks, K)
        percent[i, j] = below = max(below, 0.0)
        # two converged values agree far better than this
        name = "other" if best < closed * (1 - 1e-6) else _STRUCTURES.get(structure, "sum")
        colour = "white" if below > 17 else "black"
        ax.text(j, i + 0.15, f"{rank:.0f}", ha="center", va="center", color=colour)
        ax.text(j, i - 0.25, name, ha="center", va="center", color=colour, fontsize=5.5)
    image = ax.imshow(percent, cmap="cividis_r", vmin=0, aspect="auto", origin="lower")
    ax.set_xticks(range(len(Ks)), [str(K) for K in Ks])
    ax.set_yticks(range(len(Ms)), [str(M) for M in Ms])
    ax.set(xlabel="classes $K$", ylabel="linear layers $M$")
    ax.tick_params(length=0)
    ax.grid(False)
    drawn.colorbar(image, ax=ax, label=rf"below the ETF / %, $\lambda = {MAP_DECAY}$")
    return drawn


_GAPS, _PATH = "ufm/certificate-along-the-way", "K=10, five methods"
_METHODS = ("gradient descent", "momentum", "Adam", "L-BFGS", "Newton")


@figure("ours/certificate-gap", Need(_GAPS, (_PATH,), tuple(f"gap of {name}" for name in _METHODS)))
def certificate_gap(data: Data) -> Figure:
    """Certified relative gap to the global optimum along five methods from one start, by steps and by gradients and Hessian products."""
    drawn, axes = canvas(1, 2, height=2.5, sharey=True)
    source = data.one(_GAPS, _PATH)
    for ax, (name, label) in zip(axes[0], (("step", "steps"), ("products", "gradients and Hessian-vector products")), strict=True):
        for i, method in enumerate(_METHODS):
            columns = source.record(f"gap of {method}")
            # a logarithm has no place for step 0, and a gap that is rounding has no sign
            ax.plot(
                columns[name][1:],
                np.maximum(columns["gap"][1:], EPS / 10),
                color=COLOURS[i],
                linestyle=DASHES[i],
                marker=MARKERS[i],
                markevery=max(1, len(columns[name]) // 8),
                label=method,
            )
        ax.axhline(EPS, label="machine precision", **REFERENCE)
        ax.set(xscale="log", yscale="log", xlabel=label)
    axes[0, 0].set_ylabel("certified relative gap")
    letter(axes)
    drawn.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=6, columnspacing=1.0, handlelength=1.9)
    return drawn
