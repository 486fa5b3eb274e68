"""Names of classes along an axis: as many as fit without touching one another.

How many fit is known only when the figure is drawn, in the size that it then has.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axis import Axis, XAxis
from matplotlib.text import Text
from matplotlib.textpath import TextPath
from matplotlib.ticker import Formatter, Locator

# heights of a letter that two neighbours keep from one another
_APART = 0.5


def name_classes(axis: Axis, names: Sequence[str], *, counted: bool) -> None:
    """Put a name at each of 0, …, K - 1, or at every second, third, … where all do not fit.

    Names of words below the axes are turned first.

    Parameters
    ----------
    axis
        Along which the classes are.
    names
        Of the classes (K,).
    counted
        Whether the names are the numbers 0, …, K - 1, of which round ones stay: every second,
        fifth, tenth, ….
    """
    axis.set_major_locator(_ClassLocator(axis, names, counted=counted))
    axis.set_major_formatter(_ClassFormatter(names))


class _ClassFormatter(Formatter):
    def __init__(self, names: Sequence[str]):
        self._names = names

    def __call__(self, x, pos=None) -> str:
        k = round(x)
        return self._names[k] if 0 <= k < len(self._names) else ""


class _ClassLocator(Locator):
    """The classes whose names are drawn, for the size that the axis has now."""

    def __init__(self, axis: Axis, names: Sequence[str], *, counted: bool):
        self._along, self._names, self._counted = axis, names, counted

    def __call__(self) -> list[float]:
        K, step = len(self._names), self._step()
        level = self._along.get_major_ticks(1)[0].label1.get_rotation() == 0
        if step > 1 and level and not self._counted and isinstance(self._along, XAxis):
            self._along.set_tick_params(rotation=90)
            step = self._step()
        return [float(k) for k in range(0, K, step)]

    def _step(self) -> int:
        """The least at which neighbours keep apart; of numbers, of 1, 2, 5, 10, 20, …."""
        axes, across = self._along.axes, isinstance(self._along, XAxis)
        figure = axes.get_figure(root=True)
        assert figure is not None
        points = (axes.bbox.width if across else axes.bbox.height) * 72 / figure.dpi
        low, high = self._along.get_view_interval()
        # (asked for one tick, an axis does not ask its locator)
        needed = _pitch(self._names, self._along.get_major_ticks(1)[0].label1, across=across)
        classes = min(needed * abs(high - low) / points, len(self._names))
        rounded = (part * 10**power for power in range(20) for part in (1, 2, 5))
        steps = rounded if self._counted else range(1, len(self._names) + 1)
        return next(step for step in steps if step >= classes)


def _pitch(names: Sequence[str], like: Text, *, across: bool) -> float:
    """Points from one name to the next, which are parallel strips where they are turned."""
    size, turn = float(like.get_fontsize()), np.deg2rad(like.get_rotation())
    font = like.get_fontproperties()
    widths = [
        TextPath((0, 0), name, size=size, prop=font).get_extents().width
        for name in names
        if name.strip()
    ]
    along, beside = (np.cos(turn), np.sin(turn)) if across else (np.sin(turn), np.cos(turn))
    lengths = max(widths, default=0.0), size
    strips = [
        (length + _APART * size) / abs(part)
        for length, part in zip(lengths, (along, beside), strict=True)
        if abs(part) > 1e-6
    ]
    return min(strips)
