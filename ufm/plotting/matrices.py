"""Matrices of classes by classes, drawn on the `ax` of the caller."""

from __future__ import annotations

from weakref import WeakKeyDictionary, WeakValueDictionary

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.colors import Normalize
from matplotlib.text import Text
from matplotlib.textpath import TextPath

from ufm._validate import require, require_finite, require_positive
from ufm.plotting.class_ticks import name_classes

_COLOURS_OF_ENTRIES = "PuOr"
# More numbers than those of so many classes are too small to read.
_MOST_WRITTEN = 8
# The part of a cell that its number takes at most.
_FILLED = 0.85
# (an axes owns its colour bar: neither is kept alive from here)
_BARS: WeakKeyDictionary[Axes, WeakValueDictionary[str, Colorbar]] = WeakKeyDictionary()


def gram(ax: Axes, matrix, *, title="", names=None, limit=None) -> Axes:
    """A Gram matrix, or the logits of each class, as a heat map.

    Up to eight classes with the numbers in it, as small as its cells, more with a colour bar beside
    it.

    Parameters
    ----------
    ax
        Where to draw. A colour bar takes its room from it.
    matrix
        (K, K); entries below a millionth of the limit are written as 0, large and small ones in
        units of a power of ten that stands beside them.
    title
        Above it.
    names
        Of the classes, 0, …, K - 1 unless given. Below the matrix they are turned where they do not
        fit beside one another, and where that does not help every second, third, … is drawn.
    limit
        The end of the colour scale, which is symmetric about 0; the largest entry unless given. Two
        matrices that are to be compared need one.

    Returns
    -------
    Axes
        The same.

    Raises
    ------
    ValueError
        For a matrix that is not square or has entries that are not finite, another number of
        names, and a limit that is not positive.
    """
    require_finite("matrix", matrix, ndim=2)
    matrix = np.asarray(matrix, dtype=float)
    K, columns = matrix.shape
    require(columns == K, "`matrix` must have shape (K, K)", matrix.shape)
    if limit is not None:
        require_positive("limit", limit, shape=())
    counted = names is None
    names = [str(k) for k in range(K)] if names is None else [str(name) for name in names]
    require(len(names) == K, f"`names` must hold K = {K} names", names)
    top = float(np.max(np.abs(matrix))) if limit is None else float(limit)
    top = top if top > 0 else 1.0
    ax.imshow(matrix, cmap=_COLOURS_OF_ENTRIES, vmin=-top, vmax=top)
    _colour_bar(ax, top, shown=K > _MOST_WRITTEN)
    if K <= _MOST_WRITTEN:
        # (two digits of numbers in this range are no powers of ten)
        power = 0 if 0.01 <= top < 99.5 else int(np.floor(np.log10(top)))
        words = [
            f"{entry / 10.0**power:.2g}".replace("-", "−") if abs(entry) > 1e-6 * top else "0"
            for entry in matrix.flat
        ]
        widest = max(TextPath((0, 0), text, size=1).get_extents().width for text in words)
        for (i, j), text in zip(np.ndindex(K, K), words, strict=True):
            colour = "white" if abs(matrix[i, j]) > 0.6 * top else "black"
            ax.add_artist(_InCell(j, i, text, widest, color=colour))
        if power:
            words = rf"$\times 10^{{{power}}}$"
            ax.text(1.02, 1, words, transform=ax.transAxes, va="top", fontsize="small")
    for axis in (ax.xaxis, ax.yaxis):
        name_classes(axis, names, counted=counted)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set(title=title, xlabel="class", ylabel="class")
    return ax


class _InCell(Text):
    """A number of a cell, drawn as small as the cells of the axes have it in the end.

    All numbers of a matrix have one size, which the widest (in sizes of the letters) decides.
    """

    def __init__(self, x: float, y: float, text: str, widest: float, *, color: str):
        super().__init__(x, y, text, ha="center", va="center", fontsize="small", color=color)
        self._ems, self._most = max(widest, 1), self.get_fontsize()

    def draw(self, renderer) -> None:
        figure = self.get_figure(root=True)
        assert figure is not None
        assert self.axes is not None
        (left, _), (right, _) = self.axes.transData.transform([(0, 0), (1, 0)])
        size = min(self._most, _FILLED * abs(right - left) * 72 / figure.dpi / self._ems)
        # (what is set anew is drawn anew)
        if size != self.get_fontsize():
            self.set_fontsize(size)
        super().draw(renderer)


def _colour_bar(ax: Axes, top: float, *, shown: bool) -> None:
    """One colour bar beside the axes, also where several matrices are drawn one after the other."""
    figure = ax.get_figure()
    assert figure is not None
    bar = _BARS.setdefault(ax, WeakValueDictionary()).get("bar")
    if bar is not None and bar.ax in figure.axes:
        bar.mappable.set_clim(-top, top)
        bar.ax.set_visible(shown)
    elif shown:
        # (not of the image, which goes where the axes is cleared)
        scale = ScalarMappable(Normalize(-top, top), _COLOURS_OF_ENTRIES)
        # with these parts it is as high as a square matrix
        bar = figure.colorbar(scale, ax=ax, fraction=0.046, pad=0.04)
        bar.outline.set_visible(False)
        _BARS[ax]["bar"] = bar
