"""Trajectories and errors, drawn on the `ax` of the caller."""

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
    checked_series,
    colours_of,
    finished,
    styled,
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
        has them. NaN, which marks rows that were not reached, leaves a gap, and so does what is not
        positive on a logarithmic axis, which laws widen by half of its measured decades at most.
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
        The same. Where its legend covers data, `legend_above` makes room.

    Raises
    ------
    ValueError
        For times and values of different lengths.
    """
    curves, laws = checked_series("curves", curves), checked_series("laws", laws or {})
    artists = Artists(ax, live=live)
    before = ax.get_ylim() if ax.has_data() and not artists.again else ()
    measured_and_exact(artists, curves, laws)
    finished(ax, xlabel, ylabel, log_x=log_x, log_y=log_y, artists=artists)
    if ax.get_yscale() == "log":
        _keep_measured(ax, curves, laws, before)
    return ax


def _keep_measured(ax: Axes, curves: Series, laws: Series, before: tuple[float, ...]) -> None:
    """Limits in which laws have half as many decades more as what was measured, or as before.

    An exponential law has hundreds of decades.
    """
    measured, exact = _decades(curves), _decades(laws)
    if not len(measured):
        return
    low, high = measured.min(), measured.max()
    more = max((high - low) / 2, 1)
    shown = np.clip(exact, low - more, high + more)
    if np.array_equal(shown, exact):
        return
    low, high = (pick([low, high, *shown]) for pick in (min, max))
    margin = ax.get_ymargin() * (high - low)
    ends = [10 ** (low - margin), 10 ** (high + margin), *(end for end in before if end > 0)]
    # (what is drawn next is fitted as ever)
    ax.set_ylim(min(ends), max(ends), auto=None)


def _decades(curves: Series) -> np.ndarray:
    """Logarithms of all that a logarithmic axis shows."""
    values = [np.asarray(values, dtype=float) for _, values in curves.values()]
    flat = np.concatenate([np.empty(0), *values])
    return np.log10(flat[np.isfinite(flat) & (flat > 0)])


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
            ts,
            values,
            color=colours[label],
            linestyle="-" if shared else styled(DASHES, i),
            linewidth=1.8,
            alpha=0.75,
            label=None if shared else label,
            zorder=2,
        )
    for i, (label, (ts, values)) in enumerate(curves.items()):
        artists.line(
            f"curve {label}",
            ts,
            values,
            color=colours[label],
            # the law is the line where there is one
            linestyle="none" if label in laws else styled(DASHES, i),
            linewidth=1.2,
            marker=styled(MARKERS, i),
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
    for i, (label, (ts, values)) in enumerate(checked_series("curves", curves).items()):
        require(not np.any(values < 0), f"`curves[{label!r}]` must be errors >= 0", values)
        shown = np.where(values == 0, eps / 10, values)
        ax.plot(
            ts,
            shown,
            color=colours[label],
            linestyle=styled(DASHES, i),
            marker=styled(MARKERS, i),
            markersize=3.5,
            label=label,
        )
    ax.axhline(eps, linestyle=":", label="machine precision", **REFERENCE)
    if tolerance is not None:
        ax.axhline(tolerance, linestyle="--", label="tolerance", **REFERENCE)
    return finished(ax, xlabel, ylabel, log_x=log_x, log_y=True)
