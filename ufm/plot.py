"""Pictures: the only module that imports matplotlib. Functions draw data on an `ax` and return it; figures are the caller's."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes

from ufm._validate import require
from ufm.optima import perturbation

# Okabe & Ito's colours, told apart by every common kind of colour vision and, with the line styles below, in grey
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)), (0, (8, 2)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_REFERENCE = {"color": "0.45", "linewidth": 0.9}

Series = Mapping[str, tuple]


def trajectory(ax: Axes, curves: Series, *, laws: Series | None = None, xlabel="time $t$", ylabel="", log_x=False, log_y=False) -> Axes:
    """Quantities along flows and scripts: measured `curves` as markers on thin lines, exact `laws` as lines behind them.

    `curves`, `laws`: label → (times (T,), values (T,)). A law with the label of a curve shares its colour and its entry in the legend. For
    a discrete method times are steps × step size, as `Trajectory.ts` has them. NaN, which marks rows that were not reached, leaves a gap.
    """
    laws = laws or {}
    colours = _colours([*curves, *laws])
    for i, (label, (ts, values)) in enumerate(laws.items()):
        shared = label in curves
        dash = "-" if shared else DASHES[i % len(DASHES)]
        name = None if shared else label
        ax.plot(*_pair(label, ts, values), color=colours[label], linestyle=dash, linewidth=1.8, alpha=0.75, label=name, zorder=2)
    for i, (label, (ts, values)) in enumerate(curves.items()):
        ts, values = _pair(label, ts, values)
        ax.plot(
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
    return _finish(ax, xlabel, ylabel, log_x=log_x, log_y=log_y)


def errors(ax: Axes, curves: Series, *, xlabel="time $t$", ylabel="relative error", tolerance=None, dtype=np.float64, log_x=False) -> Axes:
    """Errors on a logarithmic axis, with the machine precision of `dtype` and the claimed `tolerance` marked.

    `curves`: label → (abscissae (T,), errors >= 0 (T,)). An error of exactly zero is drawn at a tenth of the machine precision.
    """
    eps = float(np.finfo(dtype).eps)
    colours = _colours(curves)
    for i, (label, (ts, values)) in enumerate(curves.items()):
        ts, values = _pair(label, ts, values)
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
    ax.axhline(eps, linestyle=":", label="machine precision", **_REFERENCE)
    if tolerance is not None:
        ax.axhline(tolerance, linestyle="--", label="tolerance", **_REFERENCE)
    return _finish(ax, xlabel, ylabel, log_x=log_x, log_y=True)


def staircase(ax: Axes, spectra: Mapping[str, np.ndarray], *, measured: Mapping[str, np.ndarray] | None = None) -> Axes:
    """Singular values of a block $F_{kk}$ of the perturbation map, largest first: exact `spectra` as steps, `measured` as markers.

    Both: label → singular values (p,), in any order.
    """
    measured = measured or {}
    colours = _colours([*spectra, *measured])
    for i, (label, values) in enumerate(spectra.items()):
        values = np.sort(np.asarray(values, dtype=float))[::-1]
        index = np.arange(1, len(values) + 1)
        ax.step(index, values, where="mid", color=colours[label], linestyle=DASHES[i % len(DASHES)], linewidth=1.5, label=label)
    for i, (label, values) in enumerate(measured.items()):
        values = np.sort(np.asarray(values, dtype=float))[::-1]
        index = np.arange(1, len(values) + 1)
        ax.plot(
            index,
            values,
            linestyle="none",
            marker=MARKERS[i % len(MARKERS)],
            markersize=3.5,
            markerfacecolor="white",
            color=colours[label],
            label=None if label in spectra else label,
        )
    return _finish(ax, "index $i$", r"$\sigma_i(F_{kk})$")


def hyperparameters(ax: Axes, *, vary: str, num_classes, feature_dim, lambda_W, lambda_H, beta, num_points: int = 200) -> Axes:
    r"""How λ_W or λ_H sets the answer of collapsed features to a change of their anchor: attenuation and cross-talk, exact for every β.

    Attenuation is 1 minus the gain: $r/(\beta+r)$ for within-class noise in the span of the class means, $\lambda_H/(\beta+\lambda_H)$ off
    it, $1-g$ for stretching a mean; cross-talk is $(1-g)/2$. `vary`: "lambda_H" or "lambda_W", drawn from 1/1000 of the end of collapse,
    $\lambda_W\lambda_H = 1$, up to it, the other one held. λ and β in the normalisation of Tirer, Huang & Niles-Weed 2023; see
    `ufm/optima/perturbation.py`.
    """
    require(vary in ("lambda_H", "lambda_W"), '`vary` must be "lambda_H" or "lambda_W"', vary)
    held = lambda_W if vary == "lambda_H" else lambda_H
    end, values = 1 / held, np.geomspace(1e-3, 0.999, num_points) / held
    rows = []
    for value in values:
        lambdas = {"lambda_W": lambda_W, "lambda_H": lambda_H, vary: float(value)}
        gains = perturbation.gains(num_classes=num_classes, samples_per_class=2, feature_dim=feature_dim, beta=beta, **lambdas).values
        rows.append([*(1 - gains[:3]), perturbation.cross_talk(beta=beta, **lambdas)])
    labels = ("noise in the span of the means", "noise off the span", "mean stretched", "cross-talk")
    for label, column, colour, dash in zip(labels, np.array(rows).T, COLOURS, DASHES, strict=False):
        ax.plot(values, column, color=colour, linestyle=dash, linewidth=1.6, label=label)
    ax.axvline(end, linestyle=":", label=r"$\lambda_W\lambda_H = 1$", **_REFERENCE)
    symbol, other = (r"$\lambda_H$", r"\lambda_W") if vary == "lambda_H" else (r"$\lambda_W$", r"\lambda_H")
    ax.set_title(rf"$\beta = {beta:g}$, ${other} = {held:.3g}$", fontsize="medium")
    # towards the end of collapse 1 − g falls to zero: three decades tell the story
    top = 2 * np.max(rows)
    ax.set_ylim(1e-3 * top, top)
    return _finish(ax, symbol, "attenuation", log_x=True, log_y=True)


def _colours(labels) -> dict[str, str]:
    """One colour a label, in order of appearance."""
    return {label: COLOURS[i % len(COLOURS)] for i, label in enumerate(dict.fromkeys(labels))}


def _pair(label: str, ts, values) -> tuple[np.ndarray, np.ndarray]:
    ts, values = np.asarray(ts, dtype=float), np.asarray(values, dtype=float)
    require(
        ts.ndim == 1 and values.shape == ts.shape,
        f"the times and values of {label!r} must be two arrays of one shape (T,)",
        (ts.shape, values.shape),
    )
    return ts, values


def _finish(ax: Axes, xlabel: str, ylabel: str, *, log_x: bool = False, log_y: bool = False) -> Axes:
    """The one style: labels, scales, a light grid, no box, a legend when there is something to tell apart."""
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    if log_x:
        ax.set_xscale("log")
    if log_y:
        ax.set_yscale("log")
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(True, color="0.9", linewidth=0.6)
    ax.set_axisbelow(True)
    if len(ax.get_legend_handles_labels()[0]) > 1:
        ax.legend(fontsize="small", edgecolor="none", framealpha=0.85)
    return ax
