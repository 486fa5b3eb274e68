"""Trajectories, errors, spectra, vectors and Gram matrices, drawn on the `ax` of the caller."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d.axes3d import Axes3D

from ufm._validate import require
from ufm.frames import simplex_etf
from ufm.optima import perturbation

# Okabe & Ito's colours, told apart by every common kind of colour vision and, with the line styles
# below, in grey
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)), (0, (8, 2)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_REFERENCE = {"color": "0.45", "linewidth": 0.9}

Series = Mapping[str, tuple]


def trajectory(
    ax: Axes,
    curves: Series,
    *,
    laws: Series | None = None,
    xlabel="time $t$",
    ylabel="",
    log_x=False,
    log_y=False,
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

    Returns
    -------
    Axes
        The same.

    Raises
    ------
    ValueError
        For times and values of different lengths.
    """
    laws = laws or {}
    colours = _colours([*curves, *laws])
    for i, (label, (ts, values)) in enumerate(laws.items()):
        shared = label in curves
        dash = "-" if shared else DASHES[i % len(DASHES)]
        name = None if shared else label
        ax.plot(
            *_pair(label, ts, values),
            color=colours[label],
            linestyle=dash,
            linewidth=1.8,
            alpha=0.75,
            label=name,
            zorder=2,
        )
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


def staircase(
    ax: Axes, spectra: Mapping[str, np.ndarray], *, measured: Mapping[str, np.ndarray] | None = None
) -> Axes:
    """Singular values of a block $F_{kk}$ of the perturbation map, largest first.

    Parameters
    ----------
    ax
        Where to draw.
    spectra
        The exact ones, as steps: label → singular values (p,), in any order.
    measured
        As markers, likewise.

    Returns
    -------
    Axes
        The same.
    """
    measured = measured or {}
    colours = _colours([*spectra, *measured])
    for i, (label, values) in enumerate(spectra.items()):
        values = np.sort(np.asarray(values, dtype=float))[::-1]
        index = np.arange(1, len(values) + 1)
        ax.step(
            index,
            values,
            where="mid",
            color=colours[label],
            linestyle=DASHES[i % len(DASHES)],
            linewidth=1.5,
            label=label,
        )
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


def hyperparameters(
    ax: Axes,
    *,
    vary: str,
    num_classes,
    feature_dim,
    lambda_W,
    lambda_H,
    beta,
    num_points: int = 200,
) -> Axes:
    r"""How λ_W or λ_H sets the answer of collapsed features to a change of their anchor.

    Attenuation and cross-talk, exact for every β. Attenuation is 1 minus the gain: $r/(\beta+r)$
    for within-class noise in the span of the class means, $\lambda_H/(\beta+\lambda_H)$ off it,
    $1-g$ for stretching a mean; cross-talk is $(1-g)/2$.

    Parameters
    ----------
    ax
        Where to draw.
    vary
        "lambda_H" or "lambda_W", drawn from 1/1000 of the end of collapse, $\lambda_W\lambda_H =
        1$, up to it, the other one held.
    num_classes, feature_dim
        K and d.
    lambda_W, lambda_H, beta
        In the normalisation of Tirer, Huang & Niles-Weed 2023; see `ufm/optima/perturbation.py`.
    num_points
        Along the axis.

    Returns
    -------
    Axes
        The same.

    Raises
    ------
    ValueError
        For another word, and as `ufm.perturbation.gains` does.
    """
    require(vary in ("lambda_H", "lambda_W"), '`vary` must be "lambda_H" or "lambda_W"', vary)
    held = lambda_W if vary == "lambda_H" else lambda_H
    end, values = 1 / held, np.geomspace(1e-3, 0.999, num_points) / held
    rows = []
    for value in values:
        lambdas = {"lambda_W": lambda_W, "lambda_H": lambda_H, vary: float(value)}
        gains = perturbation.gains(
            num_classes=num_classes,
            samples_per_class=2,
            feature_dim=feature_dim,
            beta=beta,
            **lambdas,
        ).values
        rows.append([*(1 - gains[:3]), perturbation.cross_talk(beta=beta, **lambdas)])
    labels = (
        "noise in the span of the means",
        "noise off the span",
        "mean stretched",
        "cross-talk",
    )
    for label, column, colour, dash in zip(labels, np.array(rows).T, COLOURS, DASHES, strict=False):
        ax.plot(values, column, color=colour, linestyle=dash, linewidth=1.6, label=label)
    ax.axvline(end, linestyle=":", label=r"$\lambda_W\lambda_H = 1$", **_REFERENCE)
    symbol, other = (
        (r"$\lambda_H$", r"\lambda_W") if vary == "lambda_H" else (r"$\lambda_W$", r"\lambda_H")
    )
    ax.set_title(rf"$\beta = {beta:g}$, ${other} = {held:.3g}$", fontsize="medium")
    # towards the end of collapse 1 − g falls to zero: three decades tell the story
    top = 2 * np.max(rows)
    ax.set_ylim(1e-3 * top, top)
    return _finish(ax, symbol, "attenuation", log_x=True, log_y=True)


def vectors(
    ax: Axes3D,
    families: Mapping[str, np.ndarray],
    *,
    samples: Mapping[str, tuple] | None = None,
    floor=0.0,
    align=True,
) -> Axes3D:
    """Classifier rows, class means and the like as arrows in space.

    A colour and a number for each class, a dash for each family.

    Parameters
    ----------
    ax
        Made with `projection="3d"`.
    families
        Label → vectors (d, K), one column a class, for all of one d and K.
    samples
        Label → (features (d, C), class of each column (C,)), drawn as dots.
    floor
        A family no longer than this is drawn as zero.
    align
        Turn (and mirror) the picture as close as it goes to a fixed simplex, so that it does not
        jump from one solution to the next: nothing else than this is arbitrary in it. Without, the
        first three coordinates of d <= 3 are as they are.

    Returns
    -------
    Axes3D
        The same.

    Raises
    ------
    ValueError
        For shapes that disagree.

    Notes
    -----
    Lengths are in units of the longest vector of their own family, or of the family whose label the
    samples share, since $(aW, H/a)$ are the same logits. For d > 3 the picture is the projection on
    the three leading directions of all families together.
    """
    samples = samples or {}
    arrays = {label: np.asarray(columns, dtype=float) for label, columns in families.items()}
    dots = {
        label: (np.asarray(columns, dtype=float), np.asarray(index))
        for label, (columns, index) in samples.items()
    }
    shapes = {array.shape for array in arrays.values()}
    require(
        len(shapes) == 1 and all(len(shape) == 2 for shape in shapes),
        "`families` must hold matrices (d, K) of one shape",
        shapes,
    )
    ((d, K),) = shapes
    for label, (columns, index) in dots.items():
        require(
            columns.ndim == 2 and len(columns) == d,
            f"`samples[{label!r}]` must have features (d, C), d = {d}",
            columns.shape,
        )
        require(
            index.shape == columns.shape[1:],
            f"`samples[{label!r}]` must have one class for each column",
            index.shape,
        )
    units = {
        label: _longest(array, floor)
        for label, array in ({label: c for label, (c, _) in dots.items()} | arrays).items()
    }
    arrays = {label: array / units[label] for label, array in arrays.items()}
    dots = {label: (columns / units[label], index) for label, (columns, index) in dots.items()}
    view = _view(np.concatenate(list(arrays.values()), axis=1), K, align=align)

    for label, (columns, index) in dots.items():
        x, y, z = view @ columns
        ax.scatter(
            x,
            y,
            z,
            c=[COLOURS[k % len(COLOURS)] for k in index],
            s=9,
            alpha=0.6,
            linewidths=0,
            label=label,
            depthshade=False,
        )
    for i, (label, array) in enumerate(arrays.items()):
        marker, dash = MARKERS[i % len(MARKERS)], DASHES[i % len(DASHES)]
        for k, (x, y, z) in enumerate((view @ array).T):
            colour = COLOURS[k % len(COLOURS)]
            # the mark is hollow but for the first family, so that two tips in one place are both
            # seen
            ax.plot((0, x), (0, y), (0, z), color=colour, linestyle=dash, linewidth=2.2 - 0.5 * i)
            size = 6 + 4 * i
            ax.plot(
                (x,),
                (y,),
                (z,),
                color=colour,
                marker=marker,
                markersize=size,
                markerfacecolor=colour if i == 0 else "none",
            )
        ax.plot(
            (),
            (),
            (),
            color="0.3",
            linestyle=dash,
            marker=marker,
            markerfacecolor="0.3" if i == 0 else "none",
            label=label,
        )
    _number_classes(ax, [view @ array for array in arrays.values()])
    # three great circles of the unit sphere, which tell near from far
    angle = np.linspace(0, 2 * np.pi, 61)
    cos, sin, zero = np.cos(angle), np.sin(angle), np.zeros_like(angle)
    for circle in ((cos, sin, zero), (zero, cos, sin), (sin, zero, cos)):
        ax.plot(*circle, color="0.85", linewidth=0.6, zorder=0)
    ax.set(xlim=(-0.7, 0.7), ylim=(-0.7, 0.7), zlim=(-0.7, 0.7))
    ax.set_box_aspect((1, 1, 1))
    ax.set_axis_off()
    # the classes' colours would be the first sample's alone in the legend
    shown = [
        (h, name)
        for h, name in zip(*ax.get_legend_handles_labels(), strict=True)
        if name not in dots or name not in arrays
    ]
    ax.legend(*zip(*shown, strict=True), fontsize="small", edgecolor="none", loc="upper left")
    return ax


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


def png(figure: Figure, *, dpi: float = 90) -> bytes:
    """The figure as the bytes of a PNG file, for a picture that is redrawn in one place, such as
    `ipywidgets.Image`."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def _longest(array: np.ndarray, floor: float) -> float:
    """Length of the longest column, or infinity where that is no more than `floor`."""
    length = float(np.max(np.linalg.norm(array, axis=0), initial=0.0))
    return length if length > floor else np.inf


def _number_classes(ax: Axes3D, families: list[np.ndarray]) -> None:
    """The number of each class, beyond the tips of all families.

    Classes that have become one share a place.
    """
    places: list[tuple[np.ndarray, list[int]]] = []
    for k, tip in enumerate(families[0].T):
        far = max(np.linalg.norm(vectors[:, k]) for vectors in families) + 0.15
        place = far * tip / (np.linalg.norm(tip) or 1.0)
        near = [classes for other, classes in places if np.linalg.norm(other - place) < 0.1]
        if near:
            near[0].append(k)
        else:
            places.append((place, [k]))
    for (x, y, z), classes in places:
        names = ", ".join(str(k + 1) for k in classes)
        ax.text(x, y, z, names, color=COLOURS[classes[0] % len(COLOURS)], ha="center", va="center")


def _view(columns: np.ndarray, num_classes: int, *, align: bool) -> np.ndarray:
    """(3, d): from R^d to the space that is drawn."""
    d = len(columns)
    if d <= 3 and not align:
        return np.eye(3, d)
    basis = np.eye(d) if d <= 3 else np.linalg.svd(columns, full_matrices=False)[0][:, :3].T
    flat = np.pad(basis, ((0, 3 - len(basis)), (0, 0)))
    if not align:
        return flat
    # for three classes the axes, which are as good for an orthogonal frame as for a simplex
    reference = (
        np.eye(3)
        if num_classes == 3
        else np.asarray(simplex_etf(num_classes, dim=max(num_classes - 1, 3)))[:3]
    )
    left, _, right = np.linalg.svd(
        np.tile(reference, columns.shape[1] // num_classes) @ (flat @ columns).T
    )
    return left @ right @ flat


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


def _finish(
    ax: Axes, xlabel: str, ylabel: str, *, log_x: bool = False, log_y: bool = False
) -> Axes:
    """The one style: labels, scales, a light grid, no box, a legend when there is something to tell
    apart."""
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
