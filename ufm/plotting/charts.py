"""Trajectories, errors and Gram matrices, drawn on the `ax` of the caller."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from ufm._validate import require
from ufm.plotting.artists import Artists
from ufm.plotting.style import (
    DASHES,
    MARKERS,
    REFERENCE,
    Series,
    checked_pair,
    colours_of,
    finished,
)


def trajectory(
    ax: Axes,
    curves: Series,
    *,
    laws: Series | None = None,
    xlabel="time $t$",
    ylabel="",
    log_x=False,
    log_y=False,
    live=False,
) -> Axes:
    """Quantities along flows and scripts.

    Measured curves as markers on thin lines, exact laws as lines behind them.

    Parameters
    ----------
    ax
        Where to draw.
    curves, laws
        Label → (times (T,), values (T,)). A law with the label of a curve shares its colour and its
        entry in the legend. For a discrete method times are steps × step size, as `Trajectory.ts`
        has them. NaN, which marks rows that were not reached, leaves a gap.
    xlabel, ylabel
        Of the axes.
    log_x, log_y
        Whether an axis is logarithmic.
    live
        Move what the last live call has drawn on `ax`, in place of drawing beside it: much faster,
        for pictures that follow a slider. Labels and scales stay.

    Returns
    -------
    Axes
        The same.

    Raises
    ------
    ValueError
        For times and values of different lengths.
    """
    artists = Artists(ax, live=live)
    measured_and_exact(artists, curves, laws or {})
    return finished(ax, xlabel, ylabel, log_x=log_x, log_y=log_y, artists=artists)


def measured_and_exact(artists: Artists, curves: Series, laws: Series) -> None:
    """The lines of `trajectory`.

    Parameters
    ----------
    artists
        Of the axes.
    curves, laws
        As there.
    """
    colours = colours_of([*curves, *laws])
    for i, (label, (ts, values)) in enumerate(laws.items()):
        shared = label in curves
        artists.line(
            f"law {label}",
            *checked_pair(label, ts, values),
            color=colours[label],
            linestyle="-" if shared else DASHES[i % len(DASHES)],
            linewidth=1.8,
            alpha=0.75,
            label=None if shared else label,
            zorder=2,
        )
    for i, (label, (ts, values)) in enumerate(curves.items()):
        ts, values = checked_pair(label, ts, values)
        artists.line(
            f"curve {label}",
            ts,
            values,
            color=colours[label],
            # the law is the line where there is one
            linestyle="none" if label in laws else DASHES[i % len(DASHES)],
            linewidth=1.2,
            marker=MARKERS[i % len(MARKERS)],
            markersize=4.0,
            markevery=max(1, len(ts) // 20),
            markerfacecolor="white" if label in laws else colours[label],
            label=label,
            zorder=3,
        )


def errors(
    ax: Axes,
    curves: Series,
    *,
    xlabel="time $t$",
    ylabel="relative error",
    tolerance=None,
    dtype=np.float64,
    log_x=False,
) -> Axes:
    """Errors on a logarithmic axis, with the machine precision marked.

    Parameters
    ----------
    ax
        Where to draw.
    curves
        Label → (abscissae (T,), errors >= 0 (T,)). An error of exactly zero is drawn at a tenth of
        the machine precision.
    xlabel, ylabel
        Of the axes.
    tolerance
        The claimed one, marked too.
    dtype
        Whose precision it is.
    log_x
        Whether the abscissae are logarithmic.

    Returns
    -------
    Axes
        The same.

    Raises
    ------
    ValueError
        For errors below 0, and sequences of different lengths.
    """
    eps = float(np.finfo(dtype).eps)
    colours = colours_of(curves)
    for i, (label, (ts, values)) in enumerate(curves.items()):
        ts, values = checked_pair(label, ts, values)
        require(not np.any(values < 0), f"`curves[{label!r}]` must be errors >= 0", values)
        shown = np.where(values == 0, eps / 10, values)
        ax.plot(
            ts,
            shown,
            color=colours[label],
            linestyle=DASHES[i % len(DASHES)],
            marker=MARKERS[i % len(MARKERS)],
            markersize=3.5,
            label=label,
        )
    ax.axhline(eps, linestyle=":", label="machine precision", **REFERENCE)
    if tolerance is not None:
        ax.axhline(tolerance, linestyle="--", label="tolerance", **REFERENCE)
    return finished(ax, xlabel, ylabel, log_x=log_x, log_y=True)


def gram(ax: Axes, matrix, *, title="", names=None, limit=None) -> Axes:
    """A Gram matrix, or the logits of each class, as a heat map.

    Up to eight classes with the numbers in it.

    Parameters
    ----------
    ax
        Where to draw.
    matrix
        (K, K); entries below a millionth of the limit are written as 0.
    title
        Above it.
    names
        Of the classes, 1, …, K unless given.
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
        For a matrix that is not square, and another number of names.
    """
    matrix = np.asarray(matrix, dtype=float)
    require(
        matrix.ndim == 2 and matrix.shape[0] == matrix.shape[1],
        "`matrix` must have shape (K, K)",
        matrix.shape,
    )
    K = len(matrix)
    names = [str(k + 1) for k in range(K)] if names is None else list(names)
    require(len(names) == K, f"`names` must hold K = {K} names", names)
    top = float(np.max(np.abs(matrix))) if limit is None else float(limit)
    top = top if top > 0 else 1.0
    ax.imshow(matrix, cmap="PuOr", vmin=-top, vmax=top)
    if K <= 8:
        for (i, j), entry in np.ndenumerate(matrix):
            text = f"{entry:.2g}" if abs(entry) > 1e-6 * top else "0"
            ax.text(
                j,
                i,
                text,
                ha="center",
                va="center",
                fontsize="small",
                color="white" if abs(entry) > 0.6 * top else "black",
            )
    ax.set_xticks(range(K), names)
    ax.set_yticks(range(K), names)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set(title=title, xlabel="class", ylabel="class")
    return ax
