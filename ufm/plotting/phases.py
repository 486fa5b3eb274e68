"""Phase diagrams: a sweep over two quantities, as cells on the `ax` of the caller."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import ListedColormap, LogNorm
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from matplotlib.transforms import ScaledTranslation

from ufm._validate import Shown, require, require_instance
from ufm.plotting.style import DASHES, LEGEND
from ufm.solution import Result

if TYPE_CHECKING:
    import xarray

    Regions = Mapping[str, tuple[float, float]]
    Lines = Mapping[str, tuple]

# Singular values of the logits below this part of the largest count for nothing; logits below it
# altogether are zero. A solved optimum has 1e-8 where there is none, and beyond a threshold a
# singular value rises as steeply as a root.
_NOTHING = 1e-4
# More whole numbers than this are a scale, not phases.
_MOST_PHASES = 7
# From dark to light, also in grey, and nowhere as grey as a cell that was not solved.
_PHASES = colormaps["viridis"]
# (a halo, for phases as dark as the line)
_LINE: dict[str, Any] = {
    "color": "0.1",
    "linewidth": 1.4,
    "path_effects": [withStroke(linewidth=3, foreground="white")],
}
_UNSOLVED: dict[str, Any] = {"facecolor": "0.8", "edgecolor": "none", "linewidth": 0}
_UNDEFINED: dict[str, Any] = {**_UNSOLVED, "facecolor": "1", "edgecolor": "0.55", "hatch": "////"}
_SYMBOLS = {
    "lambda_W": r"$\lambda_W$",
    "lambda_H": r"$\lambda_H$",
    "ratio": r"ratio of largest to smallest class",
    "gap": "relative duality gap",
    "rank": "rank of the logits without bias",
    "value": "optimal value",
}


def phase(
    ax: Axes,
    dataset: xarray.Dataset,
    *,
    x: str,
    y: str,
    field: str | xarray.DataArray,
    regions: Regions | None = None,
    lines: Lines | None = None,
) -> Axes:
    """A quantity over two swept ones: phases in colours of their own, or a scale.

    Parameters
    ----------
    ax
        Where to draw.
    dataset
        From `ufm.sweep` or `ufm.open_sweep`, also of a sweep that has not finished. Of further
        dimensions, such as seeds, the lane of the lowest value is drawn.
    x, y
        The dimensions along the axes. One whose values are evenly spaced in their logarithm has a
        logarithmic axis.
    field
        Name of a variable, or an array with the dimensions of one. "rank" is that of the logits
        without their bias, W H (how many singular values are above 1e-4 of the largest, and above
        1e-4 where the largest is below 1), for which the sweep is given
        `report=ufm.sweeping.Report(keep=["logits"])`.
    regions
        Label → (least, largest) value of the field, both included: cells in it have one colour.
        Whole numbers are phases of their own unless given, anything else is a scale of colours.
    lines
        Label → (values along x (T,), along y (T,)), such as thresholds in closed form.

    Returns
    -------
    Axes
        The same `ax`. Cells that were not solved are grey; those that were, at a point where the
        field is not defined, are hatched.

    Raises
    ------
    ValueError
        For a dataset of another origin, names that it lacks, equal ones, and a field of other
        dimensions.
    """
    import xarray

    require_instance("dataset", dataset, xarray.Dataset, "a dataset, as ufm.sweep returns")
    words = "`dataset` must have `code`, how each problem ended, as that of `ufm.sweep` has"
    require("code" in dataset, words, Shown(dataset))
    dims = [str(dim) for dim in dataset["code"].dims]
    for name, dim in (("x", x), ("y", y)):
        swept = isinstance(dim, str) and dim in dims
        words = f"`{name}` must be a dimension that was swept, {', '.join(dims)}"
        require(swept, words, Shown(dim))
        require(dataset.sizes[dim] >= 2, f"`{name}` must have two values or more", dim)
    require(x != y, "`x` and `y` must differ", x)
    values, solved = _cells(dataset, x, y, field)
    defined = solved & np.isfinite(values)
    xs, ys = (np.asarray(dataset[dim].values, dtype=float) for dim in (x, y))
    where = (_edges(xs), _edges(ys))
    name = field if isinstance(field, str) else str(field.name or "")
    whole = regions is None
    if regions is None:
        regions = _whole(values[defined])
    if regions is None:
        shown = np.where(defined, values, np.nan)
        norm = LogNorm() if _is_wide(shown[defined]) else None
        mesh = ax.pcolormesh(*where, shown, cmap="cividis", norm=norm, rasterized=True)
        figure = ax.get_figure()
        assert figure is not None
        figure.colorbar(mesh, ax=ax, label=_SYMBOLS.get(name, name))
        handles, title = [], None
    else:
        # (regions of one's own have names that speak)
        title = _SYMBOLS.get(name, name) if whole else None
        handles = _draw_regions(ax, where, values, defined, regions)
    # (a metric of a product that is zero, say)
    handles += _draw_missing(ax, where, solved & ~defined, _UNDEFINED, "not defined there")
    handles += _draw_missing(ax, where, ~solved, _UNSOLVED, "not solved")
    for i, (label, (along, up)) in enumerate((lines or {}).items()):
        dash = DASHES[i % len(DASHES)]
        handles += ax.plot(along, up, linestyle=dash, label=label, **_LINE)
    _finish(ax, xs, ys, (_SYMBOLS.get(x, x), _SYMBOLS.get(y, y)))
    if handles:
        ax.legend(
            handles=handles,
            title=title,
            title_fontsize="small",
            loc="upper center",
            bbox_to_anchor=(0.5, 0),
            bbox_transform=_below_label(ax),
            borderaxespad=0,
            ncols=2,
            **LEGEND,
        )
    return ax


def _cells(dataset, x: str, y: str, field) -> tuple[np.ndarray, np.ndarray]:
    """The field over (y, x), and where its lane was solved."""
    if isinstance(field, str):
        if field == "rank" and field not in dataset:
            data = _ranks(dataset)
        else:
            words = f"`field` must be a variable of `dataset`, {', '.join(map(str, dataset))}"
            require(field in dataset, words, field)
            data = dataset[field]
    else:
        import xarray

        require_instance("field", field, xarray.DataArray, "a name or an xarray.DataArray")
        data = field
    dims = dataset["code"].dims
    words = f"`field` must have the dimensions that were swept, {', '.join(map(str, dims))}"
    require(set(data.dims) == set(dims), words, tuple(data.dims))
    others = [dim for dim in dims if dim not in (x, y)]
    order = (y, x, *others)
    shape = (dataset.sizes[y], dataset.sizes[x], -1)
    flat, codes, lowest = (
        np.asarray(part.transpose(*order).values).reshape(shape)
        for part in (data, dataset["code"], dataset["value"])
    )
    good = np.isin(codes, [int(result) for result in Result if result.ok])
    best = np.argmin(np.where(good, lowest, np.inf), axis=2)[..., None]
    values, solved = (np.take_along_axis(array, best, axis=2)[..., 0] for array in (flat, good))
    return values.astype(float), solved


def _ranks(dataset):
    """The rank of the logits of every lane."""
    # (early sweeps kept logits alone, and whether a bias is in them is not to be seen)
    words = (
        '`dataset` must hold `logits` and `logits_bias` for the field "rank": sweep with '
        'report=ufm.sweeping.Report(keep=["logits"]), or keep = ["logits"] under [run] of a '
        "SPEC.toml"
    )
    require({"logits", "logits_bias"} <= set(dataset), words, ", ".join(map(str, dataset)))
    logits, bias = dataset["logits"], dataset["logits_bias"]
    product = logits - bias
    # (a store that such a sweep began has them of its later lanes alone)
    lacking = int(np.any(np.isfinite(logits) & np.isnan(bias), axis=(-2, -1)).sum())
    require(not lacking, words, f"{lacking} lanes without `logits_bias`")
    array = np.asarray(product.transpose(..., "class", "column").values)
    finite = np.all(np.isfinite(array), axis=(-2, -1), keepdims=True)
    values = np.linalg.svd(np.where(finite, array, 0), compute_uv=False)
    least = _NOTHING * np.maximum(values[..., :1], 1)
    ranks = np.where(finite[..., 0, 0], np.sum(values > least, axis=-1), np.nan)
    return logits.isel({"class": 0, "column": 0}, drop=True).copy(data=ranks)


def _whole(values: np.ndarray) -> Regions | None:
    """A region for each whole number, where there are no others and not many."""
    phases = np.unique(values)
    if not 1 <= len(phases) <= _MOST_PHASES or np.any(phases != np.rint(phases)):
        return None
    return {f"{phase:g}": (phase, phase) for phase in phases}


def _is_wide(values: np.ndarray) -> bool:
    """Whether a logarithm tells more: positive numbers over more than two decades."""
    return bool(len(values)) and values.min() > 0 and values.max() > 100 * values.min()


def _draw_missing(ax, where, cells: np.ndarray, look: dict[str, Any], label: str) -> list:
    """Cells (y, x) without a value, if there are any, and their entry of the legend."""
    xs, ys = where
    corners = [
        [(xs[j], ys[i]), (xs[j + 1], ys[i]), (xs[j + 1], ys[i + 1]), (xs[j], ys[i + 1])]
        for i, j in np.argwhere(cells)
    ]
    if not corners:
        return []
    ax.add_collection(PolyCollection(corners, **look))
    return [Patch(**look, label=label)]


def _draw_regions(ax, where, values, defined, regions: Regions) -> list:
    handles = []
    colours = _PHASES(np.linspace(0.25, 1, len(regions)))
    for colour, (label, (least, largest)) in zip(colours, regions.items(), strict=True):
        inside = defined & (values >= least) & (values <= largest)
        cells = np.where(inside, 1.0, np.nan)
        ax.pcolormesh(*where, cells, cmap=ListedColormap([colour]), rasterized=True)
        handles.append(Patch(color=colour, label=label))
    return handles


def _is_geometric(values: np.ndarray) -> bool:
    """Whether values are spaced more evenly in their logarithm."""
    if values.min() <= 0 or len(values) < 3:
        return False
    steps, ratios = np.diff(values), np.diff(np.log(values))
    return np.ptp(ratios) * np.abs(steps.mean()) < np.ptp(steps) * np.abs(ratios.mean())


def _edges(values: np.ndarray) -> np.ndarray:
    """The ends of the cells around values, half-way between them on the scale of their axis."""
    at = np.log(values) if _is_geometric(values) else values
    inner = (at[1:] + at[:-1]) / 2
    ends = np.concatenate([[2 * at[0] - inner[0]], inner, [2 * at[-1] - inner[-1]]])
    return np.exp(ends) if _is_geometric(values) else ends


def _below_label(ax: Axes):
    """Coordinates of the axes, from below its label of x on: no cell is free of data.

    In points, as ticks and letters are, however high the axes is.
    """
    tick, label = ax.xaxis.get_major_ticks(1)[0], ax.xaxis.label
    lines = 1.5 * sum(float(words.get_fontsize()) for words in (tick.label1, label))
    points = tick.get_tick_padding() + ax.xaxis.labelpad + lines
    figure = ax.get_figure()
    assert figure is not None
    return ax.transAxes + ScaledTranslation(0, -points / 72, figure.dpi_scale_trans)


def _finish(ax: Axes, xs: np.ndarray, ys: np.ndarray, labels: tuple[str, str]) -> None:
    if _is_geometric(xs):
        ax.set_xscale("log")
    if _is_geometric(ys):
        ax.set_yscale("log")
    # a line beyond the cells does not widen the picture
    ax.set_xlim(*np.sort(_edges(xs)[[0, -1]]))
    ax.set_ylim(*np.sort(_edges(ys)[[0, -1]]))
    ax.set_xlabel(labels[0])
    ax.set_ylabel(labels[1])
    ax.spines[["top", "right"]].set_visible(False)
