"""What a reviewer would send a figure back for.

Small print, type on type, type beyond the edge; and, of a figure of real data, legends on it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from theory_checks.engine.figures.style import Bbox, Figure, FigureCanvasAgg, Line2D, Text

# points, at the size of print: below it publishers refuse
LEAST = 6.0
# points that two texts may share: the boxes of glyphs are wider than their ink
_SHARED = 1.5


def faults(figure: Figure) -> list[str]:
    """Texts that are too small, that lie on one another, or outside the figure.

    `figure`: as it will be saved. Numbers in a drawing in space turn with it and may touch.
    """
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    point = figure.dpi / 72
    texts = [(text, _box(text, canvas)) for text in _texts(figure)]
    found = [
        f"{text.get_text()!r} is set in {text.get_fontsize():.1f} pt, less than {LEAST:g}"
        for text, _ in texts
        if float(text.get_fontsize()) < LEAST
    ]
    for (one, first), (other, second) in itertools.combinations(texts, 2):
        # (the box of a slanted text is mostly empty)
        if one.get_rotation() % 90 or other.get_rotation() % 90:
            continue
        shared = Bbox.intersection(first, second)
        if shared is not None and min(shared.width, shared.height) > _SHARED * point:
            found.append(f"{one.get_text()!r} lies on {other.get_text()!r}")
    edge = figure.bbox.padded(_SHARED * point)
    found += [
        f"{text.get_text()!r} goes beyond the edge"
        for text, box in texts
        if not (edge.contains(box.x0, box.y0) and edge.contains(box.x1, box.y1))
    ]
    return found


def covered(figure: Figure) -> list[str]:
    """Legends that lie on what is drawn.

    `figure`: as it will be saved, of real data: planted ones lie anywhere.
    """
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    point = figure.dpi / 72
    found = []
    for i, axes in enumerate(figure.axes):
        legend = axes.get_legend()
        if legend is None or axes.name == "3d":
            continue
        box = legend.get_window_extent(canvas.get_renderer()).padded(-_SHARED * point)
        shown = [line for line in axes.get_lines() if line.get_visible()]
        # (others are marks across the whole axes)
        lines = [line for line in shown if line.get_transform() == axes.transData]
        under = [str(line.get_label()) for line in lines if _meets(line, box)]
        for dots in axes.collections:
            places = axes.transData.transform(np.asarray(dots.get_offsets(), dtype=float))
            if np.any(_inside(places, box)):
                under.append(str(dots.get_label()))
        found += [f"the legend of panel {i + 1} lies on {name!r}" for name in under]
    return found


def _meets(line: Line2D, box: Bbox) -> bool:
    """Whether a curve or one of its marks is in the box."""
    path = line.get_transform().transform_path(line.get_path())
    if line.get_linestyle() != "None" and path.cleaned(remove_nans=True).intersects_bbox(
        box, filled=False
    ):
        return True
    return line.get_marker() not in ("", "None", None) and bool(
        np.any(_inside(np.asarray(path.vertices), box))
    )


def _inside(places: np.ndarray, box: Bbox) -> np.ndarray:
    x, y = places[..., 0], places[..., 1]
    return (x > box.x0) & (x < box.x1) & (y > box.y0) & (y < box.y1)


def _texts(figure: Figure) -> Iterator[Text]:
    """Every text that is seen."""
    yield from (text for text in _all(figure) if text.get_visible() and text.get_text().strip())


def _all(figure: Figure) -> Iterator[Text]:
    yield from figure.texts
    legends = list(figure.legends)
    for axes in figure.axes:
        yield from axes.texts if axes.name != "3d" else ()
        yield from _titles(axes)
        legend = axes.get_legend()
        legends += [] if legend is None else [legend]
        if not axes.axison or axes.name == "3d":
            continue
        for axis in (axes.xaxis, axes.yaxis):
            yield axis.label
            low, high = sorted(axis.get_view_interval())
            for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
                # ticks beyond the ends of an axis keep their labels, and are not drawn
                if low <= tick.get_loc() <= high:
                    yield tick.label1
    for legend in legends:
        yield from legend.get_texts()


def _titles(axes) -> list[Text]:
    return [
        text for text in axes.get_children() if isinstance(text, Text) and text not in axes.texts
    ]


def _box(text: Text, canvas: FigureCanvasAgg) -> Bbox:
    return text.get_window_extent(canvas.get_renderer())
