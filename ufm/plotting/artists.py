"""What an axes holds, by name: made by the first drawing, moved by those that follow.

Most of the time of a redrawn picture goes into making axes, ticks and words that were there
already.
"""

from __future__ import annotations

from collections.abc import Callable
from weakref import WeakKeyDictionary, WeakValueDictionary

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.text import Text

# An axes owns its artists, and an artist knows its axes: neither is kept alive from here. (A name
# that an artist carries would be written into SVG files.)
_DRAWN: WeakKeyDictionary[Axes, WeakValueDictionary[str, Artist]] = WeakKeyDictionary()
_LEGENDS: WeakKeyDictionary[Axes, list[tuple]] = WeakKeyDictionary()


class Artists:
    """Lines, dots and words of a chart on `ax`.

    Parameters
    ----------
    ax
        Where to draw, in the plane or in space.
    live
        Whether what an earlier live chart has drawn under the same name is moved, and the rest of
        it removed; otherwise everything is drawn beside what is there.
    """

    def __init__(self, ax: Axes, *, live: bool = False):
        self.ax = ax
        # (clearing the axes may have removed them)
        there = set(ax.get_children())
        drawn = _DRAWN.get(ax, {}) if live else {}
        self._old = {name: artist for name, artist in drawn.items() if artist in there}
        self._new: dict[str, Artist] = {}
        self._dots: list[np.ndarray] = []
        self.live, self.again = live, bool(self._old)

    def line(self, name: str, *data, **style) -> Line2D:
        """A line through points.

        Parameters
        ----------
        name
            Of it, among those of this axes.
        *data
            Its coordinates, one array each.
        **style
            As `plot` takes it.

        Returns
        -------
        Line2D
            New, or the one of this name, moved.
        """
        old = self._old.pop(name, None)
        if old is None:
            (line,) = self.ax.plot(*data, **style)
        else:
            # (a line in space is one in the plane too)
            assert isinstance(old, Line2D)
            line = old
            getattr(line, "set_data_3d", line.set_data)(*data)
            line.set(**style)
        self._new[name] = line
        return line

    def dots(self, name: str, *data, **style) -> None:
        """Dots, each with its colour.

        Parameters
        ----------
        name
            Of them, among those of this axes.
        *data
            Their coordinates, one array each.
        **style
            As `scatter` takes it.
        """
        # in space there is no public way to move them
        old = self._old.pop(name, None) if len(data) == 2 else None
        if old is None:
            self._new[name] = self.ax.scatter(*data, **style)
        else:
            places = np.stack(data, axis=-1)
            old.set(offsets=places, facecolor=style["c"], sizes=[style["s"]])
            self._dots.append(places)
            self._new[name] = old

    def words(self, name: str, place: tuple, text: str, **style) -> None:
        """A text at a place.

        Parameters
        ----------
        name
            Of it, among those of this axes.
        place
            Its coordinates.
        text
            What it says.
        **style
            As `text` takes it.
        """
        old = self._old.pop(name, None)
        if old is None:
            # (an axes in space takes three coordinates, which its class in the plane does not say)
            write: Callable[..., Text] = self.ax.text
            self._new[name] = write(*place, text, **style)
            return
        assert isinstance(old, Text)
        getattr(old, "set_position_3d", old.set_position)(place)
        old.set(text=text, **style)
        self._new[name] = old

    def finish(self) -> None:
        """Remove what was not drawn this time, and fit the axes to what was."""
        for artist in self._old.values():
            artist.remove()
        if self.live:
            _DRAWN[self.ax] = WeakValueDictionary(self._new)
        if self.again and self.ax.name != "3d":
            # the limits of what has been moved; of dots they are not asked for
            self.ax.relim()
            for places in self._dots:
                self.ax.update_datalim(places)
            self.ax.autoscale_view()

    def legend(self, handles: list[Artist], **style) -> None:
        """A legend, made anew only where its title or a handle looks otherwise than before.

        Parameters
        ----------
        handles
            Artists with labels.
        **style
            As `legend` takes it, `labels` with it.
        """
        looks = [(style.get("title"),), *(_look(handle) for handle in handles)]
        if self.again and looks == _LEGENDS.get(self.ax):
            return
        self.ax.legend(handles=handles, **style)
        if self.live:
            _LEGENDS[self.ax] = looks


def _look(handle: Artist) -> tuple:
    look = (handle.get_label(),)
    if isinstance(handle, Line2D):
        dash = (handle.get_linestyle(), handle.get_linewidth(), handle.get_marker())
        look += (*dash, str(handle.get_color()), str(handle.get_markerfacecolor()))
    return look
