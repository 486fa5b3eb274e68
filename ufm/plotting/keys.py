"""Legends as wide as their axes: as many columns as fit, and lines where a name does not.

A layout makes room for a legend below the axes in height alone: one that is wider than its axes
would leave no width for them. Where no layout is at work the axes make room themselves.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.textpath import TextPath
from matplotlib.transforms import Bbox, ScaledTranslation, Transform

# in sizes of the letters: two periods of dash and dot, which with one look like dashes
HANDLE_LENGTH = 4.2
LEGEND: dict[str, Any] = {
    "fontsize": "small",
    "title_fontsize": "small",
    "edgecolor": "none",
    "handlelength": HANDLE_LENGTH,
    "handletextpad": 0.8,
    "columnspacing": 1.5,
    "borderpad": 0.4,
}
# Handles of patches alone, and with lines of one dash, in sizes of the letters.
_PATCH, _SOLID = 1.2, 2.0
# The part of its height that an axes gives up for a legend at most.
_GIVEN = 0.8


def fitted(
    ax: Axes, names: Sequence[str], *, title: str = "", handlelength: float = HANDLE_LENGTH
) -> dict[str, Any]:
    """How a legend is no wider than its axes are now.

    Parameters
    ----------
    ax
        In the size that it is meant for.
    names
        Of its entries.
    title
        Of it.
    handlelength
        In sizes of the letters.

    Returns
    -------
    dict[str, Any]
        `labels`, `title` and what else `legend` takes: the fewest rows that fit, or one column of
        names on several lines.
    """
    size = _points(LEGEND["fontsize"])
    pads = 2 * LEGEND["borderpad"] * size
    handle = (handlelength + LEGEND["handletextpad"]) * size
    room = size_of(ax)[0] - pads
    look = {**LEGEND, "handlelength": handlelength, "title": wrapped(title, room, size)}
    widths = [handle + _width(name, size) for name in names]
    for rows in range(1, len(names) + 1):
        columns = np.array_split(widths, -(-len(names) // rows))
        gaps = LEGEND["columnspacing"] * size * (len(columns) - 1)
        if sum(float(column.max()) for column in columns) + gaps <= room:
            return {**look, "labels": list(names), "ncols": len(columns)}
    return {**look, "labels": [wrapped(name, room - handle, size) for name in names], "ncols": 1}


def size_of(ax: Axes) -> tuple[float, float]:
    """Width and height of the axes, in points."""
    figure = ax.get_figure(root=True)
    assert figure is not None
    return ax.bbox.width * 72 / figure.dpi, ax.bbox.height * 72 / figure.dpi


def wrapped(words: str, width: float, size: float | str) -> str:
    """Words on lines of at most a width, of four letters at least; formulas are not broken.

    Parameters
    ----------
    words
        A text, with lines of its own or without.
    width
        In points.
    size
        Of the letters, in points or as matplotlib has it.

    Returns
    -------
    str
        With line breaks.
    """
    size = _points(size)
    width = max(width, 4 * size)
    lines = []
    for given in words.split("\n"):
        line = ""
        for word in re.findall(r"(?:\$[^$]*\$|\S)+", given):
            for piece in _pieces(word, width, size):
                longer = f"{line} {piece}" if line else piece
                if line and _width(longer, size) > width:
                    lines.append(line)
                    longer = piece
                line = longer
        lines.append(line)
    return "\n".join(lines)


def _pieces(word: str, width: float, size: float) -> Iterator[str]:
    """A word, in pieces where it is wider than a line and no formula."""
    while "$" not in word and _width(word, size) > width:
        end = next(n for n in range(len(word), 0, -1) if n == 1 or _width(word[:n], size) <= width)
        yield word[:end]
        word = word[end:]
    yield word


@functools.lru_cache(maxsize=1000)
def _width(words: str, size: float) -> float:
    """Of a text of one or more lines, in points."""
    lines = [line for line in words.split("\n") if line.strip()]
    boxes = [TextPath((0, 0), line, size=size).get_extents() for line in lines]
    return max((float(box.width) for box in boxes), default=0.0)


def _points(size: float | str) -> float:
    return float(FontProperties(size=size).get_size_in_points())


def legend_below(ax: Axes, handles: Sequence[Artist], *, title: str = "") -> None:
    """A legend below the label of x, no wider than the axes, of which no place is free of data.

    Parameters
    ----------
    ax
        With its label of x, in the size that it is meant for.
    handles
        Artists with labels, patches and lines.
    title
        Of the legend.
    """
    dashes = {str(handle.get_linestyle()) for handle in handles if isinstance(handle, Line2D)}
    handlelength = (_PATCH, _SOLID, HANDLE_LENGTH)[min(len(dashes), 2)]
    names = [str(handle.get_label()) for handle in handles]
    ax.legend(
        handles=list(handles),
        loc="upper center",
        bbox_to_anchor=(0.5, 0),
        bbox_transform=_below_label(ax),
        borderaxespad=0,
        **fitted(ax, names, title=title, handlelength=handlelength),
    )
    make_room_below(ax)


def _below_label(ax: Axes) -> Transform:
    """Coordinates of the axes, from below its label of x on.

    In points, as ticks and letters are, however high the axes is.
    """
    tick, label = ax.xaxis.get_major_ticks(1)[0].label1, ax.xaxis.label
    rows = 1 + label.get_text().count("\n")
    letters = 1.5 * (float(tick.get_fontsize()) + rows * float(label.get_fontsize()))
    points = ax.xaxis.get_major_ticks(1)[0].get_tick_padding() + ax.xaxis.labelpad + letters
    figure = ax.get_figure()
    assert figure is not None
    return ax.transAxes + ScaledTranslation(0, -points / 72, figure.dpi_scale_trans)


def make_room_below(ax: Axes) -> None:
    """Have an axes that no layout places end above what its legend needs of the figure.

    Axes that begin at one height stay side by side, and a locator that is there stays.
    """
    if ax.get_axes_locator() is None:
        ax.set_axes_locator(_RoomBelow(ax))


class _RoomBelow:
    """Where axes are drawn, in the coordinates of their figure."""

    def __init__(self, ax: Axes):
        self._ax = ax

    def get_subplotspec(self):
        """What a layout that is asked for later places."""
        return self._ax.get_subplotspec()

    def __call__(self, ax: Any, renderer) -> Bbox:
        place, figure = ax.get_position(original=True), ax.get_figure(root=False)
        if figure.get_layout_engine() is not None:
            return place
        # (also of axes whose locators a tight picture has replaced)
        ends = [
            _least_end(other, renderer)
            for other in figure.axes
            if abs(other.get_position(original=True).y0 - place.y0) < 1e-6
        ]
        least = (max(ends) - figure.bbox.y0) / figure.bbox.height
        lower = min(max(least, place.y0), place.y0 + _GIVEN * place.height)
        return Bbox.from_extents(place.x0, lower, place.x1, place.y1)


def _least_end(ax: Axes, renderer) -> float:
    """The height, in pixels, from which on the legend is in the figure, and on no other axes."""
    figure, legend = ax.get_figure(root=False), ax.get_legend()
    assert figure is not None
    if legend is None:
        return figure.bbox.y0
    place = ax.get_position(original=True)
    below = [figure.bbox.y0]
    for other in figure.axes:
        theirs = other.get_position(original=True)
        if theirs.y1 <= place.y0 and theirs.x0 < place.x1 and place.x0 < theirs.x1:
            below.append((other.get_tightbbox(renderer) or other.bbox).y1)
    return max(below) + ax.bbox.y0 - legend.get_window_extent(renderer).y0
