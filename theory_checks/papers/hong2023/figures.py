"""Hong & Ling 2023: the phases of minority collapse over imbalance and decay."""

from __future__ import annotations

from theory_checks.engine.figures.data import Data, Need
from theory_checks.engine.figures.registry import figure
from theory_checks.engine.figures.style import Figure, canvas, letter
from theory_checks.papers.hong2023.phase_diagram import MAPS, PHASES

_PHASES = "hong2023/phase-diagram"
# a shape of its own for each, because two of the colours are the same grey
_FILLS = ("#56B4E9", "#009E73", "#D55E00", "#000000")
_SHAPES = ("o", "s", "^", "x")


@figure("ours/phase-diagram", Need(_PHASES, MAPS, ("phases", "thresholds")))
def phase_diagram(data: Data) -> Figure:
    """Phases of minority collapse under cross-entropy: measured at the minimum (markers),
    thresholds in closed form (lines).

    R is the ratio of the counts of a majority and a minority class, n_A / n_B, and s the decay in
    units of the threshold of balanced classes of n_B samples, N √(λ_W λ_H / n_B). Minority classes
    merge at s = 1 and vanish at s = s₂(R); at s = √R everything is zero.
    """
    drawn, axes = canvas(1, 2, height=2.9, sharey=True)
    for ax, case in zip(axes[0], MAPS, strict=True):
        k_A, k_B = case.options["classes"]
        source = data.one(_PHASES, case)
        points, curves = source.record("phases"), source.record("thresholds")
        for phase, (name, fill, shape) in enumerate(zip(PHASES, _FILLS, _SHAPES, strict=True)):
            here = points["phase"] == phase
            ax.plot(
                points["R"][here],
                points["s"][here],
                linestyle="none",
                marker=shape,
                markersize=2.2,
                color=fill,
                label=name,
            )
        lines = (
            ("merge", "-", r"$s = 1$"),
            ("vanish", "--", r"$s = s_2(R)$"),
            ("zero", "-.", r"$s = \sqrt{R}$"),
        )
        for name, dash, label in lines:
            ax.plot(
                curves["R"],
                curves[name],
                color="0.15",
                linestyle=dash,
                linewidth=1.4,
                label=label,
                zorder=4,
            )
        ax.set(
            xscale="log",
            yscale="log",
            xlabel=r"imbalance $R = n_A / n_B$",
            title=f"{k_A} majority, {k_B} minority classes",
        )
        ax.set_ylim(points["s"].min() / 1.1, points["s"].max() * 1.1)
        ax.set_xlim(1, 100)
    axes[0, 0].set_ylabel(r"decay $s = N\sqrt{\lambda_W\lambda_H / n_B}$")
    letter(axes)
    drawn.legend(
        *axes[0, 0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=4,
        markerscale=1.8,
    )
    return drawn
