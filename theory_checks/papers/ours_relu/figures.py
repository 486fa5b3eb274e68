"""Values against collapse over depth and classes, the triple layer by layer, and ranks."""

from __future__ import annotations

import numpy as np

from theory_checks.engine.figures.data import Data, Need
from theory_checks.engine.figures.registry import figure
from theory_checks.engine.figures.style import (
    COLOURS,
    DASHES,
    MARKERS,
    REFERENCE,
    TEXT,
    Axes,
    Figure,
    canvas,
    letter,
)
from theory_checks.papers.ours_relu.found import POINT_CASES, SHARE, STRUCTURES, TRIPLE_CASE

_FOUND, _TUNED = "ours_relu/best-known", "ours_relu/tuned-triple"
_LABELS = {
    "triple": "triple, the rest alone",
    "pairs": "pairs",
    "triangular": "triangular graph (SRG)",
    "polygon": "polygon (candidate)",
    "best sum": "best sum of blocks",
}
_BEST = "#000000"


def _ratios(data: Data) -> dict[str, np.ndarray]:
    records = [source.record("ratios") for source in data.of(_FOUND)]
    return {name: np.concatenate([r[name] for r in records]) for name in records[0]}


def _curves(ax: Axes, record, over: str) -> None:
    for i, name in enumerate(STRUCTURES):
        values = record[name]
        known = np.isfinite(values)
        if known.any():
            ax.plot(
                record[over][known],
                values[known],
                color=COLOURS[i],
                linestyle=DASHES[i],
                marker=MARKERS[i],
                markerfacecolor="white",
                label=_LABELS[name],
            )
    ax.axhline(1.0, **REFERENCE)


@figure(
    "ours_relu/against-collapse",
    Need(_FOUND, POINT_CASES, ("ratios", "over depth", "over classes")),
)
def against_collapse(data: Data) -> Figure:
    """Value of every structure in closed form and of the best points found, over that of deep
    neural collapse, at three tenths of the strength at which zero is as good as collapse: against
    depth for K = 3, 4 and 6 classes, and against classes behind four matrices."""
    found = _ratios(data)
    by_classes = {s.parameters["K"]: s.record("over depth") for s in data.of(_FOUND)}
    classes = [K for K in (3, 4, 6) if K in by_classes]
    drawn, axes = canvas(1, len(classes) + 1, width=TEXT, height=2.7, sharey=True)
    for ax, K in zip(axes[0], classes, strict=False):
        _curves(ax, by_classes[K], "L")
        _best(ax, found, "L", found["K"] == K)
        ax.set(title=rf"$K = {K}$", xlabel="weight matrices $M$", xticks=range(3, 11))
    last = axes[0, -1]
    four = next(s for s in data.of(_FOUND) if s.parameters["L"] == 4)
    _curves(last, four.record("over classes"), "K")
    _best(last, found, "K", found["L"] == 4)
    last.set(title="$M = 4$", xlabel="classes $K$", xticks=range(4, 13, 2))
    # (polygons of many classes are far above)
    axes[0, 0].set_ylim(0.75, 1.15)
    axes[0, 0].set_ylabel(f"value / that of collapse,\n{SHARE:g} of the threshold")
    handles = {
        label: handle
        for ax in axes[0]
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)
    }
    letter(axes)
    drawn.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3)
    return drawn


def _best(ax: Axes, found, over: str, chosen) -> None:
    if chosen.any():
        # (of several widths the lowest)
        places = np.unique(found[over][chosen])
        least = [found["best known"][chosen & (found[over] == place)].min() for place in places]
        ax.plot(
            places, least, color=_BEST, linestyle="none", marker="x", label="best known", zorder=4
        )


@figure("ours_relu/triple-layers", Need(_TUNED, TRIPLE_CASE, ("layers",)))
def triple_layers(data: Data) -> Figure:
    """Three classes on two nonnegative directions behind four matrices: features, what enters the
    first two ReLUs (class means as arrows in the plane), what enters the last, of rank 2, and what
    leaves it, of rank 3."""
    record = data.one(_TUNED, TRIPLE_CASE[0]).record("layers")
    layers = [_matrix(record, layer) for layer in range(5)]
    drawn, axes = canvas(1, 5, width=TEXT, height=1.5)
    titles = ("features $H_1$", "$M_2 = W_1 H_1$", "$M_3 = W_2H_2$")
    size = 1.15 * max(float(np.abs(layer).max()) for layer in layers[:3])
    for ax, title, layer in zip(axes[0], titles, layers, strict=False):
        ax.fill_between([0, size], 0, size, color="0.95", lw=0)
        for k, (x, y) in enumerate(layer.T):
            ax.annotate(
                "", (x, y), (0, 0), arrowprops={"arrowstyle": "->", "color": COLOURS[k], "lw": 1.2}
            )
            ax.text(1.06 * x, 1.06 * y, f"{k + 1}", color=COLOURS[k], ha="center", va="center")
        ax.set(title=title, xlim=(-size, size), ylim=(-size, size), aspect="equal", xlabel="unit 1")
    axes[0, 0].set_ylabel("unit 2")
    last = layers[3]
    for ax, title, matrix in zip(
        axes[0, 3:], ("$M_4$, rank 2", r"$\sigma(M_4)$, rank 3"), (last, np.maximum(last, 0)),
        strict=True,
    ):  # fmt: skip
        size = float(np.abs(last).max())
        ax.imshow(matrix, cmap="RdBu_r", vmin=-size, vmax=size)
        for (row, column), entry in np.ndenumerate(matrix):
            # black on the pale ones, white on the dark ones; and no minus at zero
            colour = "white" if abs(entry) > 0.6 * size else "black"
            text = f"{round(entry, 2) + 0.0:.2f}".replace("-", "−")
            ax.text(column, row, text, ha="center", va="center", fontsize=6.5, color=colour)
        ax.grid(visible=False)
        ax.set(title=title, xlabel="class", xticks=range(3), yticks=())
        ax.set_xticklabels(("1", "2", "3"))
    letter(axes)
    return drawn


def _matrix(record, layer: int) -> np.ndarray:
    here = record["layer"] == layer
    rows, columns = record["unit"][here].astype(int), record["class"][here].astype(int)
    matrix = np.zeros((rows.max() + 1, columns.max() + 1))
    matrix[rows, columns] = record["entry"][here]
    return matrix


@figure("ours_relu/ranks", Need(_FOUND, POINT_CASES, ("ranks",)))
def ranks(data: Data) -> Figure:
    """Rank of what enters every ReLU, and of the output (last), at the best points found; that of
    collapse is the number of classes in every layer."""
    sources = [s for s in data.of(_FOUND) if s.parameters["L"] >= 4 and s.parameters["K"] >= 3]
    drawn, axes = canvas(1, 1, width=TEXT, height=2.6)
    ax = axes[0, 0]
    for i, source in enumerate(sources):
        record, K = source.record("ranks"), source.parameters["K"]
        colour = COLOURS[i % len(COLOURS)]
        # moved apart, where whole numbers would hide one another; filled once colours are used up
        ax.plot(
            record["layer"],
            record["rank"] + 0.05 * (i - len(sources) / 2),
            color=colour,
            linestyle=DASHES[i % len(DASHES)],
            marker=MARKERS[i % len(MARKERS)],
            markerfacecolor="white" if i < len(COLOURS) else colour,
            label=f"$K = {K}$, $M = {source.parameters['L']}$",
        )
    ax.set(xlabel="layer $l$ of $M_{l+1} = W_lH_l$", ylabel="rank (moved apart)")
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.yaxis.get_major_locator().set_params(integer=True)
    drawn.legend(loc="outside right center")
    return drawn
