"""Phase diagrams: a sweep over two quantities, as cells on the `ax` of the caller."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import ListedColormap, LogNorm
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke

from ufm._validate import Shown, require, require_instance
from ufm.plotting.keys import legend_below, size_of, wrapped
from ufm.plotting.regions import (
    Regions,
    checked_regions,
    colours_in_order,
    colours_of_whole,
    membership,
    whole_numbers,
)
from ufm.plotting.style import DASHES, Series, checked_series
from ufm.solution import Result

if TYPE_CHECKING:
    import xarray

# Singular values of the logits below this part of the largest count for nothing; logits below it
# altogether are zero. A solved optimum has 1e-8 where there is none, and beyond a threshold a
# singular value rises as steeply as a root.
_NOTHING = 1e-4
_OUTSIDE: dict[str, Any] = {"facecolor": "1", "edgecolor": "none", "linewidth": 0}
# (a halo, for phases as dark as the line)
_LINE: dict[str, Any] = {
    "color": "0.1",
    "linewidth": 1.4,
    "path_effects": [withStroke(linewidth=3, foreground="white")],
}
_UNSOLVED: dict[str, Any] = {**_OUTSIDE, "facecolor": "0.8"}
_UNDEFINED: dict[str, Any] = {**_OUTSIDE, "edgecolor": "0.55", "hatch": "////"}
# (white beside white is a key)
_FRAMED: dict[str, Any] = {"edgecolor": "0.55", "linewidth": 0.6}
_SYMBOLS = {
    "lambda_W": r"$\lambda_W$",
    "lambda_H": r"$\lambda_H$",
    "gap": "relative duality gap",
    "rank": "rank of the logits without bias",
    # (of a loss that is not convex nobody knows the least one)
    "value": "objective",
}


def phase(
    ax: Axes,
    dataset: xarray.Dataset,
    *,
    x: str,
    y: str,
    field: str | xarray.DataArray,
    regions: Regions | None = None,
    lines: Series | None = None,
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
        logarithmic axis. A dimension or a variable that has the attribute `long_name` is labelled
        by it.
    field
        Name of a variable, or an array with the dimensions of one. "rank" is that of the logits
        without their bias, W H (how many singular values are above 1e-4 of the largest, and above
        1e-4 where the largest is below 1), for which the sweep is given
        `report=ufm.sweeping.Report(keep=["logits"])`.
    regions
        Label → (least, largest) value of the field, both included: cells in it have one colour,
        and those in none are white. Unless given, up to seven whole numbers are phases of their
        own, each in its colour whichever others there are, and anything else is a scale of colours.
    lines
        Label → (values along x (T,), along y (T,)), such as thresholds in closed form.

    Returns
    -------
    Axes
        The same `ax`, with a legend below it that is no wider than the axes is now and takes its
        room from it. Cells that were not solved are grey; those that were, at a point where the
        field is not defined, are hatched.

    Raises
    ------
    ValueError
        For a dataset of another origin, names that it lacks, equal ones, a field of other
        dimensions, regions that are none or overlap, and lines that are none.
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
    if regions is not None:
        checked_regions(regions)
    curves = checked_series("lines", lines or {})
    values, solved = _cells(dataset, x, y, field)
    defined = solved & np.isfinite(values)
    xs, ys = (_steps(name, dataset[dim]) for name, dim in (("x", x), ("y", y)))
    where = (_edges(xs), _edges(ys))
    _finish(ax, xs, ys, (_words(dataset[x]), _words(dataset[y])))
    words, handles = _words_of_field(dataset, field), []
    # (regions of one's own have names that speak)
    title = words if regions is None else ""
    if regions is not None:
        handles = _draw_regions(ax, where, values, defined, regions)
    elif (phases := whole_numbers(values[defined])) is not None:
        colours = colours_of_whole(np.unique(values[defined]), _largest(dataset, field))
        handles = _draw_regions(ax, where, values, defined, phases, colours)
    elif defined.any():
        _draw_scale(ax, where, np.where(defined, values, np.nan), words)
        title = ""
    # (a metric of a product that is zero, say)
    handles += _draw_missing(ax, where, solved & ~defined, _UNDEFINED, "not defined there")
    unsolved = "not solved" if solved.any() else "nothing was solved"
    handles += _draw_missing(ax, where, ~solved, _UNSOLVED, unsolved)
    for i, (label, curve) in enumerate(curves.items()):
        dash = DASHES[i % len(DASHES)]
        # (a line beyond the cells does not widen the picture)
        handles += ax.plot(*curve, linestyle=dash, label=label, scalex=False, scaley=False, **_LINE)
    if handles:
        legend_below(ax, handles, title=title)
    return ax


def _steps(name: str, data: xarray.DataArray) -> np.ndarray:
    """The values (n,) along an axis; `ValueError` for those that are in no order."""
    words = f"`{name}` must be a dimension of numbers that rise, or fall"
    require(data.dtype.kind in "iuf", words, Shown(data.values))
    values = np.asarray(data.values, dtype=float)
    # (one that is not finite is in no order)
    steps = np.diff(values)
    require(np.isfinite(values).all() and abs(np.sign(steps).sum()) == len(steps), words, values)
    return values


def _words(data: xarray.DataArray) -> str:
    """What stands for an array in a picture: its `long_name` if it has one."""
    name = str(data.name or "")
    return str(data.attrs.get("long_name", _SYMBOLS.get(name, name)))


def _words_of_field(dataset: xarray.Dataset, field: str | xarray.DataArray) -> str:
    """What a field is, as far as that is certain."""
    if not isinstance(field, str):
        # (an array has the name of what it was made from)
        return str(field.attrs.get("long_name", field.name or ""))
    if field == "value" and dataset.attrs.get("method") == "flow" and "t" in dataset.coords:
        return f"objective at $t = {float(dataset['t'][-1]):g}$"
    return _SYMBOLS.get(field, field) if field not in dataset else _words(dataset[field])


def _largest(dataset: xarray.Dataset, field: str | xarray.DataArray) -> int | None:
    """The largest value that the field can have, where that is known."""
    if isinstance(field, str) and field == "rank" and "logits" in dataset:
        return min(dataset.sizes["class"], dataset.sizes["column"])
    return None


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
    return [Patch(**{**look, **_FRAMED}, label=label)]


def _draw_regions(ax, where, values, defined, regions: Regions, colours=None) -> list:
    """Cells in the colours of their regions, and the entries of the legend."""
    colours = colours_in_order(len(regions)) if colours is None else colours
    inside = membership(np.where(defined, values, np.nan), regions)
    handles = []
    for colour, label, cells in zip(colours, regions, inside, strict=True):
        shown = np.where(cells, 1.0, np.nan)
        ax.pcolormesh(*where, shown, cmap=ListedColormap([colour]), rasterized=True)
        handles.append(Patch(color=colour, label=label))
    outside = defined & ~inside.any(axis=0)
    return handles + _draw_missing(ax, where, outside, _OUTSIDE, "in no region")


def _draw_scale(ax: Axes, where, values: np.ndarray, words: str) -> None:
    """Values (y, x) as colours, and their bar."""
    norm = LogNorm() if _is_wide(values[np.isfinite(values)]) else None
    mesh = ax.pcolormesh(*where, values, cmap="cividis", norm=norm, rasterized=True)
    figure = ax.get_figure()
    assert figure is not None
    height = size_of(ax)[1]
    bar = figure.colorbar(mesh, ax=ax)
    bar.set_label(wrapped(words, height, bar.ax.yaxis.label.get_fontsize()))


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


def _finish(ax: Axes, xs: np.ndarray, ys: np.ndarray, labels: tuple[str, str]) -> None:
    if _is_geometric(xs):
        ax.set_xscale("log", nonpositive="mask")
    if _is_geometric(ys):
        ax.set_yscale("log", nonpositive="mask")
    ax.set_xlim(*np.sort(_edges(xs)[[0, -1]]))
    ax.set_ylim(*np.sort(_edges(ys)[[0, -1]]))
    for axis, label, length in zip((ax.xaxis, ax.yaxis), labels, size_of(ax), strict=True):
        axis.set_label_text(wrapped(label, length, axis.label.get_fontsize()))
    ax.spines[["top", "right"]].set_visible(False)
