"""A figure as pixels, of which only what has moved is drawn again.

Axes, ticks and words take most of the time of a drawing, and stand still while a slider moves.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from weakref import WeakKeyDictionary, WeakSet

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imsave


def png(figure: Figure, *, dpi: float = 90) -> bytes:
    """The figure as the bytes of a PNG file, for a picture that is redrawn in one place, such as
    `ipywidgets.Image`.

    Parameters
    ----------
    figure
        Any; one that was drawn here before is drawn again only where something has changed. What
        has moved then lies over what stands still, axes and legends too.
    dpi
        Dots per inch.

    Returns
    -------
    bytes
        A whole file.
    """
    if not isinstance(figure.canvas, FigureCanvasAgg):
        FigureCanvasAgg(figure)
    before, buffer = figure.dpi, io.BytesIO()
    try:
        figure.dpi = dpi
        pixels = _PICTURES.setdefault(figure, _Picture()).of(figure)
    finally:
        figure.dpi = before
    # (packing harder takes longer than it saves on the way to a browser)
    imsave(buffer, pixels, format="png", dpi=dpi, pil_kwargs={"compress_level": 1})
    return buffer.getvalue()


class _Picture:
    """What of a figure stands still, as pixels, and the artists that have moved so far."""

    def __init__(self) -> None:
        self._look: list = []
        self._limits: dict[int, tuple] = {}
        # (an artist owns its figure: it is not kept alive from here)
        self._moving: WeakSet[Artist] = WeakSet()
        self._ground: object = None

    def of(self, figure: Figure) -> np.ndarray:
        """(height, width, 4) pixels of the figure as it is now.

        The second drawing finds out what moves, and a later one only where more does than before.
        """
        canvas = figure.canvas
        assert isinstance(canvas, FigureCanvasAgg)
        # (where a layout places the parts, each of them can push the others)
        placed = figure.get_layout_engine() is not None
        if placed or _look(figure) != self._look or _is_stale(figure.patch):
            self._draw_ground(canvas, moving=())
        elif not (changed := self._changed(figure)) <= set(self._moving):
            self._draw_ground(canvas, moving={*self._moving, *changed})
        else:
            canvas.restore_region(self._ground)
        moving = [part for part in _parts(figure) if part in self._moving]
        for part in sorted(moving, key=lambda part: part.get_zorder()):
            part.draw(canvas.get_renderer())
        for part in _below(figure):
            part.stale = False
        self._look = _look(figure)
        self._limits = {id(ax): _limits(ax) for ax in figure.axes}
        return np.asarray(canvas.buffer_rgba())

    def _draw_ground(self, canvas: FigureCanvasAgg, *, moving: Collection[Artist]) -> None:
        """Everything but these, and nothing that lies in an axes which is among them."""
        whole = {part for part in moving if isinstance(part, Axes)}
        self._moving = WeakSet(part for part in moving if part in whole or part.axes not in whole)
        with _left_out(self._moving):
            canvas.draw()
        self._ground = canvas.copy_from_bbox(canvas.figure.bbox)

    def _changed(self, figure: Figure) -> set[Artist]:
        """Whole axes and single artists in them that look otherwise than when they were drawn."""
        changed: set[Artist] = set()
        for part in figure.get_children():
            if not isinstance(part, Axes):
                changed |= {part} if _is_stale(part) else set()
                continue
            stale = {child for child in part.get_children() if _is_stale(child)}
            whole = part in self._moving or _limits(part) != self._limits.get(id(part))
            changed |= stale if not whole and _on_their_own(part, stale) else {part}
        return changed


# (a figure that is let go takes its pixels along)
_PICTURES: WeakKeyDictionary[Figure, _Picture] = WeakKeyDictionary()


def _look(figure: Figure) -> list:
    """What all of the drawing depends on: sizes, places, and which artists there are."""
    places = [(ax.get_position().bounds, ax.get_xscale(), ax.get_yscale()) for ax in figure.axes]
    return [figure.dpi, tuple(figure.get_size_inches()), places, list(map(id, _parts(figure)))]


def _limits(ax: Axes) -> tuple:
    return tuple(ax.viewLim.frozen().extents)


def _on_their_own(ax: Axes, parts: Collection[Artist]) -> bool:
    """Whether the rest of the axes looks as before when these are drawn again (one in space
    does not say that its view has changed)."""
    free = {*ax.lines, *ax.collections, *ax.images, *ax.texts, *ax.patches}
    return ax.name != "3d" and all(part in free for part in parts)


def _is_stale(part: Artist) -> bool:
    return part.stale or any(below.stale for below in _below(part))


def _below(part: Artist, within: Callable[[Artist], bool] = lambda part: True) -> Iterator[Artist]:
    """The artists of an artist, and theirs where `within` them."""
    for child in part.get_children():
        yield child
        if within(child):
            yield from _below(child, within)


def _parts(figure: Figure) -> list[Artist]:
    """The artists of the figure, and those of its axes."""
    return list(_below(figure, within=lambda part: isinstance(part, Axes)))


@contextmanager
def _left_out(parts: Collection[Artist]) -> Iterator[None]:
    """A drawing without these."""
    before = {part: part.get_animated() for part in parts}
    for part in before:
        part.set_animated(True)
    try:
        yield
    finally:
        for part, was in before.items():
            part.set_animated(was)
