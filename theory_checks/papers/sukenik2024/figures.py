"""Ten descents against deep neural collapse and the best structure, as in the paper's figure."""

from __future__ import annotations

import numpy as np

from theory_checks.engine.figures.data import Data, Need
from theory_checks.engine.figures.registry import figure
from theory_checks.engine.figures.style import COLOURS, REFERENCE, TEXT, Figure, canvas, letter
from theory_checks.papers.sukenik2024.descent import PICTURE

_CHECK = "sukenik2024/gradient-descent"
_RECORDS = ("descents", "spectra before the last ReLU")
# of collapse: runs above this end at it
_AT_COLLAPSE = 0.99


@figure("sukenik2024/gradient-descent", Need(_CHECK, PICTURE, _RECORDS))
def gradient_descent(data: Data) -> Figure:
    """Ten runs of gradient descent, ten classes behind four matrices of width 30, all decays .004,
    step .5: value over that of deep neural collapse, with the triangular graph (SRG) below it;
    variability within classes over that between, of features and of what enters the last matrix;
    singular values of what enters the last ReLU at the end. Runs in one colour end at collapse, in
    the other below it."""
    source = data.one(_CHECK, PICTURE[0])
    path, spectra = (source.record(name) for name in _RECORDS)
    runs, L = source.parameters["runs"], source.parameters["L"]
    ends = np.array([path[f"value {i}"][-1] for i in range(runs)])
    drawn, axes = canvas(1, 3, width=TEXT, height=2.5)
    left, middle, right = axes[0]
    seen = set()
    for i in np.argsort(ends):
        below = bool(ends[i] < _AT_COLLAPSE)
        colour = COLOURS[0] if below else COLOURS[1]
        words = "ends below collapse" if below else "ends at collapse"
        label = None if words in seen else words
        seen.add(words)
        left.plot(path["step"], path[f"value {i}"], color=colour, lw=0.9, label=label)
        for layer, dash in ((1, "-"), (L, "--")):
            middle.plot(
                path["step"],
                np.maximum(path[f"variability {layer}, {i}"], 1e-33),
                color=colour,
                linestyle=dash,
                lw=0.9,
            )
        right.plot(spectra["number"], spectra[f"run {i}"], color=colour, lw=0.9, marker=".", ms=4)
    left.axhline(1.0, **REFERENCE)
    left.plot(path["step"], path["best structure"], color="black", ls=":", lw=1.2, label="SRG")
    left.set(xscale="log", xlabel="step", ylabel="value / that of collapse", ylim=(0.83, 1.15))
    middle.set(xscale="log", yscale="log", xlabel="step", ylabel="within / between classes")
    middle.plot([], [], color="black", label="$H_1$")
    middle.plot([], [], color="black", ls="--", label=f"$H_{L}$")
    middle.legend(loc="lower left")
    right.set(
        xlabel="number", ylabel=f"singular values of $M_{L}$, relative", xticks=range(1, 11, 3)
    )
    letter(axes)
    drawn.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return drawn
