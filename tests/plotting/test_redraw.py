"""Redrawn pictures: whatever has changed is seen, and what has not is not drawn again."""

import gc
import io
import weakref

import matplotlib.image
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ufm import plotting

DPI = 60


def picture(layout=None) -> Figure:
    """Two charts and one in space, with lines that touch no frame."""
    figure = Figure(figsize=(7, 3), layout=layout)
    FigureCanvasAgg(figure)
    left, right = figure.add_subplot(1, 3, 1), figure.add_subplot(1, 3, 2)
    space = figure.add_subplot(1, 3, 3, projection="3d")
    for ax in (left, right):
        ax.plot([1, 2, 3], [1, 3, 2], "o-", label="some")
        ax.scatter([1.5, 2.5], [2, 2], c=["red", "blue"])
        ax.set(xlim=(0, 4), ylim=(0, 4))
        ax.legend(loc="upper left", bbox_to_anchor=(0, 1.2))
    right.text(1, 2.5, "word")
    right.imshow(np.eye(3), extent=(2.5, 3.5, 0.5, 1.5))
    right.set(xlim=(0, 4), ylim=(0, 4))
    space.plot([0, 1], [0, 1], [0, 1])
    figure.suptitle("whole")
    return figure


def seen(figure: Figure, dpi: float = DPI) -> np.ndarray:
    """(height, width, 4) pixels of the file."""
    pixels = matplotlib.image.imread(io.BytesIO(plotting.png(figure, dpi=dpi)))
    return np.asarray(255 * pixels).round().astype(np.uint8)


def afresh(figure: Figure, dpi: float = DPI) -> np.ndarray:
    """The same, of a drawing that knows nothing of earlier ones."""
    before, figure.dpi = figure.dpi, dpi
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba()).copy()
    figure.dpi = before
    return pixels


def line(figure):
    return figure.axes[0].lines[0]


CHANGES = {
    "data": lambda f: line(f).set_data([1, 2, 3], [3, 1, 3]),
    "colour": lambda f: line(f).set_color("green"),
    "hidden": lambda f: line(f).set_visible(False),
    "marker": lambda f: line(f).set_marker("s"),
    "dots": lambda f: f.axes[1].collections[0].set_offsets([[2, 1], [1, 3.5]]),
    "word": lambda f: f.axes[1].texts[0].set_text("another"),
    "image": lambda f: f.axes[1].images[0].set_data(1 - np.eye(3)),
    "title": lambda f: f.axes[0].set_title("new"),
    "title of all": lambda f: f.suptitle("none"),
    "label": lambda f: f.axes[0].set_xlabel("$x$"),
    "limits": lambda f: f.axes[0].set_xlim(-1, 5),
    "scale": lambda f: f.axes[0].set(xscale="log", xlim=(0.5, 5)),
    "ticks": lambda f: f.axes[0].set_xticks([1, 2], ["one", "two"]),
    "look of ticks": lambda f: f.axes[0].tick_params(labelcolor="red"),
    "grid": lambda f: f.axes[0].grid(True),
    "frame": lambda f: f.axes[0].spines["left"].set_linewidth(3),
    "ground": lambda f: f.axes[0].set_facecolor("0.9"),
    "ground of all": lambda f: f.patch.set_facecolor("0.8"),
    "legend": lambda f: f.axes[0].get_legend().get_texts()[0].set_text("other"),
    "another line": lambda f: f.axes[0].plot([1, 3], [2, 2]),
    "no line": lambda f: line(f).remove(),
    "another chart": lambda f: f.add_axes((0.9, 0.9, 0.05, 0.05)),
    "no chart": lambda f: f.axes[1].remove(),
    "place": lambda f: f.axes[0].set_position((0.1, 0.3, 0.1, 0.4)),
    "size": lambda f: f.set_size_inches(6, 3),
    "in space": lambda f: f.axes[2].lines[0].set_data_3d([0, 1], [1, 0], [0, 1]),
    "view": lambda f: f.axes[2].view_init(10, 10),
    "nothing": lambda f: None,
}


@pytest.mark.lean(
    "data", "word", "image", "scale", "legend", "no line", "in space", "view", "nothing"
)
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_every_change_is_seen(change):
    """Before it, a few pictures in which a line and the title have moved."""
    figure = picture()
    for i in range(3):
        line(figure).set_ydata([1, 1 + i, 2])
        figure.suptitle(f"{i}")
        seen(figure)
    change(figure)
    np.testing.assert_array_equal(seen(figure), afresh(figure))
    # and no later picture is an earlier one
    for one in figure.axes[0].lines[:1]:
        one.set_data([1, 3], [2.5, 2.5])
    np.testing.assert_array_equal(seen(figure), afresh(figure))


def test_a_layout_makes_room_for_what_has_changed():
    figure = picture(layout="constrained")
    seen(figure)
    figure.suptitle("two\nlines")
    shown = seen(figure)
    # (a layout settles within a few drawings, so it is asked for the same number of them)
    other = picture(layout="constrained")
    afresh(other)
    other.suptitle("two\nlines")
    np.testing.assert_array_equal(shown, afresh(other))


def test_other_dots_per_inch_are_another_picture():
    figure = picture()
    for dpi in (60, 90, 60):
        np.testing.assert_array_equal(seen(figure, dpi), afresh(figure, dpi))


def test_what_stands_still_is_drawn_once(monkeypatch):
    figure, drawn = picture(), []
    axis = type(figure.axes[0].xaxis)
    draw = axis.draw
    monkeypatch.setattr(
        axis, "draw", lambda self, *a, **k: (drawn.append(self), draw(self, *a, **k))
    )
    for i in range(6):
        line(figure).set_ydata([1, 3, 1 + i / 3])
        figure.suptitle(f"{i}")
        seen(figure)
    # once whole, and once without the two that move
    assert drawn.count(figure.axes[0].xaxis) == drawn.count(figure.axes[1].xaxis) == 2


def test_a_saved_figure_holds_what_has_moved():
    figure, never = picture(), picture()
    for y in (1, 2):
        for drawn in (figure, never):
            line(drawn).set_ydata([y, 3, 1])
        seen(figure)
    assert not line(figure).get_animated()
    files = [io.BytesIO(), io.BytesIO()]
    for drawn, file in zip((figure, never), files, strict=True):
        drawn.savefig(file, format="png")
    assert files[0].getvalue() == files[1].getvalue()


def test_a_figure_that_is_let_go_is_freed():
    figure = picture()
    seen(figure)
    line(figure).set_ydata([2, 2, 2])
    seen(figure)
    gone = weakref.ref(figure)
    del figure
    gc.collect()
    assert gone() is None
