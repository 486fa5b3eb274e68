"""Nonnegative features under the supervised contrastive loss: right angles, and lengths."""

from __future__ import annotations

import numpy as np

from theory_checks.engine.figures.data import Data, Need
from theory_checks.engine.figures.registry import figure
from theory_checks.engine.figures.style import COLOURS, MARKERS, TEXT, Figure, canvas, letter
from theory_checks.papers.kini2024.checks import FRAMES, LENGTHS, squared_lengths

_FRAME, _LENGTH = "kini2024/orthogonal-frame", "kini2024/lengths-under-decay"
_SHOWN = tuple(case for case in FRAMES if case.id != "a class of one sample")
_NAMES = ("4/3/2", r"$\tau=\frac{1}{2}$", "$d=K$", "$d=K-1$", "any sign")


@figure(
    "kini2024/orthogonal-frame",
    Need(_FRAME, _SHOWN, ("products", "bound and found")),
    Need(_LENGTH, LENGTHS, ("lengths",)),
)
def orthogonal_frame(data: Data) -> Figure:
    """Products of unit features of different classes, nonnegative in all cases but the last; the
    value found there, with its certificate, relative to the bound that right angles attain; and
    squared lengths under decay λ in place of unit norms, against the number of samples of a class.

    Lines are predictions, marks what minimisers end at from random starts; with d = K − 1 no
    certificate closes, and none is drawn. Of lengths the largest relative gap is given.
    """
    drawn, axes = canvas(1, 3, width=TEXT, height=2.5)
    left, middle, right = axes[0]
    left.axhline(0, color=COLOURS[0], label="predicted")
    bounds = [data.one(_FRAME, case).record("bound and found") for case in _SHOWN]
    for i, case in enumerate(_SHOWN):
        between = data.one(_FRAME, case).record("products")["between"]
        places = i + 0.25 * np.linspace(-1, 1, len(between))
        label = None if i else "found"
        left.plot(places, between, "o", color=COLOURS[1], markersize=3, label=label)
    left.set(ylabel=r"$h_i^\top h_j$ of two classes", ylim=(-0.8, 1.4))
    left.legend(loc="upper left", fontsize=6)
    wide = [i for i, case in enumerate(_SHOWN) if case.id != "counts 3/3/3, d=K-1"]
    middle.axhline(0, color=COLOURS[0], label="the bound", zorder=1)
    for name, marker, size, colour, shown in (
        ("found", "o", 4, COLOURS[1], range(len(_SHOWN))),
        ("certified", "_", 14, COLOURS[2], wide),
    ):
        above = [100 * (float(bounds[i][name][0] / bounds[i]["claimed"][0]) - 1) for i in shown]
        middle.plot(shown, above, marker, color=colour, markersize=size, label=name)
    middle.set(ylabel="% off the bound", ylim=(-30, 45))
    middle.legend(loc="upper left", fontsize=6)
    for ax in (left, middle):
        ax.set_xticks(range(len(_SHOWN)), _NAMES, rotation=50, fontsize=6)
    gaps = []
    for i, case in enumerate(LENGTHS):
        record, p = data.one(_LENGTH, case).record("lengths"), case.parameters
        total = sum(p["class_counts"])
        style = {"color": COLOURS[i], "linewidth": 0.8}
        if p["kind"].startswith("nonnegative"):
            gaps.append(float(record["gap"][0]))
            n = np.linspace(1.05, total - 1.05, 200)
            pairs = [squared_lengths((x, total - x), p["decay"])[0] for x in n]
            right.plot(n, pairs, **style)
        name = f"{'/'.join(map(str, p['class_counts']))}, $\\lambda={p['decay']:g}$"
        name += "" if p["kind"].startswith("nonnegative") else ", any sign"
        style = {"color": COLOURS[i], "markersize": 4, "label": name}
        right.plot(record["n"], record["measured"], MARKERS[i], **style)
    right.plot([], [], " ", label=f"gaps below {10.0 ** np.ceil(np.log10(max(gaps))):.0e}")
    right.set(xlabel="samples $n_k$", ylabel=r"$\|h_k\|^2$", ylim=(-0.3, 11))
    right.legend(loc="upper right", fontsize=6)
    letter(axes)
    return drawn
