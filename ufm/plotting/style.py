"""What every picture shares: colours, dashes, markers, axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from ufm._validate import Shown, require, require_instance
from ufm.plotting.artists import Artists
from ufm.plotting.keys import LEGEND, fitted

# Okabe & Ito's colours, told apart by every common kind of colour vision and, with the line styles
# below, in grey
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)), (0, (8, 2)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
REFERENCE = {"color": "0.45", "linewidth": 0.9}

Series = Mapping[str, tuple]

_ABOVE: dict[str, Any] = {
    "loc": "lower right",
    "bbox_to_anchor": (1, 1),
    "borderaxespad": 0,
}


def styled(styles: Sequence, i: int):
    """The dash or marker of the i-th curve, which beside its colour no other of 49 has."""
    return styles[(i + i // len(styles)) % len(styles)]


def colours_of(labels) -> dict[str, str]:
    """One colour a label, in order of appearance."""
    return {label: COLOURS[i % len(COLOURS)] for i, label in enumerate(dict.fromkeys(labels))}


def checked_series(name: str, series: Series) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Curves as arrays.

    Parameters
    ----------
    name
        Of the argument, for messages.
    series
        Label → (abscissae (T,), values (T,)).

    Returns
    -------
    dict[str, tuple[np.ndarray, np.ndarray]]
        In float64.

    Raises
    ------
    ValueError
        For anything else than a mapping to such pairs.
    """
    require_instance(name, series, Mapping, "a mapping from labels to pairs of arrays")
    checked = {}
    for label, pair in series.items():
        words = f"`{name}[{label!r}]` must be two arrays of one shape (T,)"
        require(isinstance(pair, tuple | list) and len(pair) == 2, words, Shown(pair))
        ts, values = (np.asarray(part, dtype=float) for part in pair)
        require(ts.ndim == 1 and values.shape == ts.shape, words, (ts.shape, values.shape))
        checked[label] = (ts, values)
    return checked


def finished(
    ax: Axes,
    xlabel: str,
    ylabel: str,
    *,
    log_x: bool = False,
    log_y: bool = False,
    artists: Artists | None = None,
) -> Axes:
    """The one style: labels, scales, a light grid, no box, and a legend where there are several.

    Parameters
    ----------
    ax
        With everything drawn.
    xlabel, ylabel
        Of the axes.
    log_x, log_y
        Whether an axis is logarithmic.
    artists
        Whose legend is kept where it looks as before, and whose axes are styled once.

    Returns
    -------
    Axes
        The same.
    """
    artists = Artists(ax) if artists is None else artists
    if not artists.again:
        ax.set_xlabel(xlabel)
        ax.set_ylabel(ylabel)
        if log_x:
            ax.set_xscale("log", nonpositive="mask")
        if log_y:
            ax.set_yscale("log", nonpositive="mask")
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(True, color="0.9", linewidth=0.6)
        ax.set_axisbelow(True)
    artists.finish()
    handles = ax.get_legend_handles_labels()[0]
    if len(handles) > 1:
        names = [str(handle.get_label()) for handle in handles]
        # a live legend stays where no data can come
        above = {**fitted(ax, names), **_ABOVE}
        within = {**LEGEND, "labels": names, "framealpha": 0.85}
        artists.legend(handles, **above if artists.live else within)
    return ax


def legend_above(ax: Axes) -> Axes:
    """Put the legend above the axes, where data leave no room for it.

    Parameters
    ----------
    ax
        With everything drawn. A title needs a `pad` of some 15 points a row of the legend.

    Returns
    -------
    Axes
        The same.
    """
    handles, names = ax.get_legend_handles_labels()
    ax.legend(handles=handles, **fitted(ax, names), **_ABOVE)
    return ax
