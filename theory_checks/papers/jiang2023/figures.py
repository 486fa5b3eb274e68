"""Seven vectors in three dimensions as the temperature falls."""

from __future__ import annotations

import numpy as np

from theory_checks.engine.figures.data import Columns, Data, Need
from theory_checks.engine.figures.registry import figure
from theory_checks.engine.figures.style import COLOURS, Axes, Figure, canvas, letter
from theory_checks.papers.jiang2023.checks import SEVEN

_CHECK = "jiang2023/softmax-codes"
# Pairs within this of the largest inner product are neighbours.
_NEAR = 0.1
# What the sphere is seen from: a little above its equator.
_HEIGHT = 0.35


@figure("jiang2023/codes", Need(_CHECK, SEVEN, ("rows and features",)))
def codes(data: Data) -> Figure:
    """Classifier rows of seven classes on a sphere, at the minimum, as the inverse temperature beta
    grows; lines join pairs whose cosine is within a tenth of the largest, which is above each; open
    circles are behind. From a bipyramid over a pentagon to seven points that keep as far apart as
    they can."""
    sources = sorted(data.of(_CHECK), key=lambda source: source.parameters["beta"])
    drawn, axes = canvas(1, len(sources), height=2.1)
    for ax, source in zip(axes[0], sources, strict=True):
        nearest = _draw(ax, source.record("rows and features"))
        ax.set_title(rf"$\beta = {source.parameters['beta']:g}$, cosines $\leq {nearest:.3f}$")
    letter(axes)
    return drawn


def _draw(ax: Axes, record: Columns) -> float:
    """The largest inner product."""
    rows = _upright(np.stack([record[f"w{i}"] for i in range(3)], axis=1))
    gram = rows @ rows.T - 2 * np.eye(len(rows))
    angle = np.linspace(0, 2 * np.pi, 200)
    ax.plot(np.cos(angle), np.sin(angle), color="0.8", linewidth=0.8)
    for i, j in zip(*np.nonzero(np.triu(gram > gram.max() - _NEAR)), strict=True):
        behind = rows[[i, j], 2].mean() < 0
        ax.plot(
            rows[[i, j], 0],
            rows[[i, j], 1],
            color="0.7" if behind else "0.25",
            linewidth=0.8,
            linestyle=":" if behind else "-",
            zorder=1 if behind else 2,
        )
    for point in rows:
        face = COLOURS[0] if point[2] >= 0 else "white"
        ax.plot(*point[:2], "o", color=COLOURS[0], markerfacecolor=face, markersize=4.5, zorder=3)
    ax.set(aspect="equal", xlim=(-1.1, 1.1), ylim=(-1.1, 1.1))
    ax.axis("off")
    return float(gram.max())


def _upright(rows: np.ndarray) -> np.ndarray:
    """Turned, and seen, so that the most isolated row is the pole: what rotation leaves free."""
    gram = rows @ rows.T - 2 * np.eye(len(rows))
    pole = rows[np.argmin(gram.max(axis=1))]
    side = rows[np.argmin(np.abs(rows @ pole))]
    side = side - (side @ pole) * pole
    side /= np.linalg.norm(side)
    frame = np.stack([side, pole, np.cross(side, pole)])
    turned = rows @ frame.T
    c, s = np.cos(_HEIGHT), np.sin(_HEIGHT)
    return turned @ np.array([[1, 0, 0], [0, c, s], [0, -s, c]])
