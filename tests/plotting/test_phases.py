"""Phase diagrams hold the cells of a sweep: of its best seed, and grey where nothing was solved."""

from __future__ import annotations

import io
import itertools

import numpy as np
import pytest
import xarray
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PolyCollection, QuadMesh
from matplotlib.figure import Figure

import ufm
from tests.drawing import legend, lines
from ufm import plotting
from ufm.command_line.spec import spec_of
from ufm.plotting.regions import colours_of_whole
from ufm.solution import Result

XS, YS = (1.0, 10.0, 100.0), (0.1, 0.2)
CONVERGED, RUNNING = int(Result.CONVERGED), int(Result.RUNNING)


def sweep_of(**variables) -> xarray.Dataset:
    """Two seeds, of which the second is lower at the first cell alone."""
    value = np.ones((3, 2, 2))
    value[0, 0, 1] = 0.5
    # a rank that tells the seeds apart, and one for each x
    rank = np.arange(3)[:, None, None] + np.asarray([0, 5])[None, None, :] + np.zeros((3, 2, 2))
    code = np.full((3, 2, 2), CONVERGED)
    dims = ("ratio", "lambda_H", "seed")
    arrays = {"value": value, "rank": rank, "code": code, **variables}
    data = {name: (dims, array) for name, array in arrays.items()}
    return xarray.Dataset(data, coords={"ratio": list(XS), "lambda_H": list(YS), "seed": [0, 1]})


def cells(ax) -> list[np.ndarray]:
    """What each layer of cells holds (y, x), NaN where it has none."""
    meshes = [layer for layer in ax.collections if isinstance(layer, QuadMesh)]
    return [np.ma.filled(mesh.get_array(), np.nan).reshape(2, 3) for mesh in meshes]


def test_the_seed_of_the_lowest_value_is_drawn_and_whole_numbers_are_phases(ax):
    assert plotting.phase(ax, sweep_of(), x="ratio", y="lambda_H", field="rank") is ax
    assert legend(ax) == ["0", "1", "2", "5"]
    assert ax.get_legend().get_title().get_text() == "rank of the logits without bias"
    best = np.asarray([[5, 1, 2], [0, 1, 2]])
    for phase, layer in zip((0, 1, 2, 5), cells(ax), strict=True):
        np.testing.assert_array_equal(np.isfinite(layer), best == phase)
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "linear")
    # each value in the middle of its cell, on the scale of its axis
    np.testing.assert_allclose(ax.get_xlim(), [10**-0.5, 10**2.5], rtol=1e-12)
    np.testing.assert_allclose(ax.get_ylim(), [0.05, 0.25], rtol=1e-12)


def test_regions_are_intervals_with_both_ends(ax):
    regions = {"few": (0, 1), "many": (5, 9)}
    bounds = {"threshold": (np.asarray(XS), np.asarray([0.1, 0.15, 0.2]))}
    plotting.phase(
        ax, sweep_of(), x="ratio", y="lambda_H", field="rank", regions=regions, lines=bounds
    )
    assert legend(ax) == ["few", "many", "in no region", "threshold"]
    assert ax.get_legend().get_title().get_text() == ""
    few, many = cells(ax)
    np.testing.assert_array_equal(np.isfinite(few), [[0, 1, 0], [1, 1, 0]])
    np.testing.assert_array_equal(np.isfinite(many), [[1, 0, 0], [0, 0, 0]])
    (neither,) = without_value(ax).values()
    np.testing.assert_array_equal(neither, [[0, 0, 1], [0, 0, 1]])
    np.testing.assert_array_equal(lines(ax)["threshold"], bounds["threshold"])


def without_value(ax) -> dict[str, np.ndarray]:
    """Which cells (y, x) have no value, by their entry in the legend: those with its look."""
    found = {}
    cells = [layer for layer in ax.collections if isinstance(layer, PolyCollection)]
    entries = ax.get_legend().get_patches()[-len(cells) :] if cells else []
    for layer, entry in zip(cells, entries, strict=True):
        assert layer.get_hatch() == entry.get_hatch()
        np.testing.assert_array_equal(layer.get_facecolor()[0], entry.get_facecolor())
        there = np.zeros((2, 3), dtype=bool)
        for path in layer.get_paths():
            # (of the first axis the logarithm)
            x, y = np.log10(path.vertices[:4, 0]).mean(), path.vertices[:4, 1].mean()
            there[round(10 * y) - 1, round(x)] = True
        found[entry.get_label()] = there
    return found


@pytest.mark.parametrize("field", ["rank", "value"])
def test_cells_that_were_not_solved_are_grey(ax, field):
    code = np.full((3, 2, 2), CONVERGED)
    code[1, 1] = RUNNING
    plotting.phase(ax, sweep_of(code=code), x="ratio", y="lambda_H", field=field)
    assert legend(ax)[-1] == "not solved"
    (grey,) = without_value(ax).values()
    np.testing.assert_array_equal(grey, [[0, 0, 0], [0, 1, 0]])


def test_a_sweep_of_which_nothing_was_solved_says_so(ax):
    """It had a scale from -0.1 to 0.1."""
    code = np.full((3, 2, 2), RUNNING)
    plotting.phase(ax, sweep_of(code=code), x="ratio", y="lambda_H", field="value")
    assert legend(ax) == ["nothing was solved"]
    assert ax.get_legend().get_title().get_text() == "objective"
    assert ax.figure.axes == [ax]


def test_only_what_is_certain_is_said(ax):
    """The value of a flow is no optimum, and a `ratio` is that of classes where a sweep says so."""
    data = sweep_of().assign_coords(t=[0.0, 2.5])
    for changed, words in (
        (data, "objective"),
        (data.assign_attrs(method="newton"), "objective"),
        (data.assign_attrs(method="flow"), "objective at $t = 2.5$"),
    ):
        value = changed["value"] + np.linspace(0, 0.1, 3)[:, None, None]
        plotting.phase(ax, changed.assign(value=value), x="ratio", y="lambda_H", field="value")
        assert ax.figure.axes[-1].get_ylabel() == words
    assert ax.get_xlabel() == "ratio"
    # (the name of an array is that of what it was made from)
    plotting.phase(ax, data, x="ratio", y="lambda_H", field=np.log(data["value"] + 1))
    assert ax.figure.axes[-1].get_ylabel() == "value"
    data["ratio"].attrs["long_name"] = "of decays"
    plotting.phase(ax, data, x="ratio", y="lambda_H", field="rank")
    assert ax.get_xlabel() == "of decays"


def colours(ax) -> dict[str, tuple]:
    """Of the phases, by their names."""
    return {patch.get_label(): patch.get_facecolor() for patch in ax.get_legend().get_patches()}


@pytest.mark.parametrize("known", [False, True])
def test_a_phase_has_its_colour_whichever_others_there_are(known):
    data = sweep_of()
    if known:
        logits = np.zeros((3, 2, 2, 9, 12))
        data["logits"] = ((*data["value"].dims, "class", "column"), logits)
    panels = Figure().subplots(1, 2)
    few = data.where(data["ratio"] > 1).assign(code=data["code"].where(data["ratio"] > 1, RUNNING))
    for ax, dataset in zip(panels, (data, few), strict=True):
        plotting.phase(ax, dataset, x="ratio", y="lambda_H", field="rank")
    all_of_them, some = map(colours, panels)
    assert list(some) == ["1", "2", "not solved"]
    assert all(all_of_them[rank] == some[rank] for rank in "12")


def test_ranks_that_are_next_to_one_another_are_told_apart():
    """Among a hundred too, where their shades would be one."""
    for largest, ranks in ((99, [0, 1, 49, 50, 98, 99]), (10, range(11)), (None, [-1, 0, 1])):
        shades = colours_of_whole(np.asarray(ranks, float), largest)[:, :3] @ [0.299, 0.587, 0.114]
        assert np.all(np.diff(shades) > 0.02)


@pytest.mark.parametrize("names", ["short", "long"])
@pytest.mark.parametrize("layout", [None, "constrained", "tight"])
@pytest.mark.parametrize("panels", [1, 2])
def test_the_legend_fits_columns_of_a_journal(panels, layout, names):
    """It left the axes 3 % of the width, or lay outside of the picture."""
    figure = Figure(figsize=(3.25 * panels, 2.8), layout=layout)
    axes = figure.subplots(1, panels, squeeze=False)[0]
    data = sweep_of()
    data["ratio"].attrs["long_name"] = "ratio of the largest class to the smallest one of all"
    more = ", where some classes are told apart_by_no_minimiser" * (names == "long")
    regions = {f"none{more}": (0, 1), f"all{more}": (2, 9)}
    lines = {"$\\lambda_W = \\lambda_H$": (XS, (0.1, 0.1, 0.2))}
    for ax in axes:
        plotting.phase(
            ax, data, x="ratio", y="lambda_H", field="rank", regions=regions, lines=lines
        )
    FigureCanvasAgg(figure).draw()
    boxes = [ax.get_legend().get_window_extent() for ax in axes]
    for ax, box in zip(axes, boxes, strict=True):
        assert ax.bbox.width > 0.65 * figure.bbox.width / panels
        assert ax.bbox.height > 0.2 * figure.bbox.height
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 - 1e-6 <= box.y0 < box.y1 <= ax.xaxis.label.get_window_extent().y0
        label = ax.xaxis.label.get_window_extent()
        assert label.width <= 1.05 * ax.bbox.width
    assert not any(box.overlaps(other) for box, other in itertools.pairwise(boxes))


def test_axes_that_no_layout_places_stay_side_by_side():
    """Also in a picture cut to what is in it, and above the axes below them."""
    figure = Figure(figsize=(6.75, 6))
    axes = figure.subplots(2, 2)
    for ax, regions in zip(axes.flat, (None, {"a": (0, 1), "b" * 60: (2, 5)}) * 2, strict=True):
        plotting.phase(ax, sweep_of(), x="ratio", y="lambda_H", field="rank", regions=regions)
    FigureCanvasAgg(figure)
    for tight in (None, "tight"):
        figure.savefig(io.BytesIO(), bbox_inches=tight)
        for left, right in axes:
            assert left.get_position().y0 == right.get_position().y0
        for above, below in axes.T:
            box = above.get_legend().get_window_extent()
            assert box.y0 >= below.get_tightbbox().y1 - 1e-6


@pytest.mark.parametrize("unsolved", [False, True])
@pytest.mark.parametrize("scale", [1.0, 0.7], ids=["phases", "scale"])
def test_cells_where_the_field_is_not_defined_are_told_apart(ax, scale, unsolved):
    """They are solved: a metric of a product that is zero is 0 / 0."""
    code = np.full((3, 2, 2), CONVERGED)
    metric = scale * np.ones((3, 2, 2))
    metric[2] = metric[1, 1] = np.nan
    if unsolved:
        code[1, 1] = RUNNING
    data = sweep_of(code=code, metric=metric)
    plotting.phase(ax, data, x="ratio", y="lambda_H", field="metric")
    undefined = {"not defined there": [[0, 0, 1], [0, not unsolved, 1]]}
    grey = {"not solved": [[0, 0, 0], [0, 1, 0]]} if unsolved else {}
    found = without_value(ax)
    assert list(found) == [*undefined, *grey]
    for label, cells in {**undefined, **grey}.items():
        np.testing.assert_array_equal(found[label], cells)


def test_other_numbers_are_a_scale_over_decades_a_logarithmic_one(ax):
    gap = np.geomspace(1e-14, 1e-2, 12).reshape(3, 2, 2)
    plotting.phase(ax, sweep_of(gap=gap), x="ratio", y="lambda_H", field="gap")
    (mesh,) = ax.collections
    assert type(mesh.norm).__name__ == "LogNorm"
    (bar,) = [other for other in ax.figure.axes if other is not ax]
    assert bar.get_ylabel() == "relative duality gap"
    assert ax.get_legend() is None


@pytest.mark.parametrize("execution", [None, ufm.batch.Execution(chunk=6)], ids=["few", "chunk"])
def test_the_rank_is_that_of_the_product_without_bias(ax, key, execution):
    """Squared error, two classes of 4: λ < √4 / 8; a bias takes the mean direction, if it may."""
    bias = {None: 2, "free": 1, 1e-2: 1, 1e3: 2}

    def make(lam, bias):
        labels = ufm.one_hot((4, 4), collapsed=True)
        decays = {"lambda_W": lam, "lambda_H": lam}
        loss = ufm.MeanSquaredError()
        return ufm.Problem(labels, loss=loss, widths=(2,), bias=bias, **decays)

    over = {"bias": list(bias), "lam": [0.1, 0.2, 0.3]}
    report = ufm.sweeping.Report(certificates=False, metrics=(), keep=["logits"])
    dataset = ufm.sweep(make, over, key=key, report=report, execution=execution, progress=False)
    # (a store that went on after one of earlier days)
    mixed = dataset.assign(logits_bias=dataset["logits_bias"].where(dataset["lam"] > 0.15))
    with pytest.raises(ValueError, match="got 4 lanes without `logits_bias`"):
        plotting.phase(ax, mixed, x="bias", y="lam", field="rank")
    plotting.phase(ax, dataset, x="bias", y="lam", field="rank")
    expected = np.asarray([list(bias.values())] * 2 + [[0] * len(bias)])
    assert legend(ax) == ["0", "1", "2"]
    for rank, mesh in enumerate(ax.collections):
        inside = ~np.ma.getmaskarray(mesh.get_array()).reshape(expected.shape)
        np.testing.assert_array_equal(inside, expected == rank)


def test_phases_of_minority_collapse_lie_where_the_theorem_puts_them(ax):
    """Squared error: a class of n samples is told apart below λ = √n / N, alone."""
    spec = spec_of(
        {
            "problem": {
                "class_counts": {"majority": 1, "minority": 1, "smallest": 4},
                "loss": "squared-error",
                "lambda_W": "lambda_H",
            },
            "sweep": {"ratio": [4.0, 16.0], "lambda_H": [0.05, 0.15, 0.25]},
            "run": {"keep": ["logits"]},
        }
    )
    dataset = spec.run(None, progress=False)
    plotting.phase(ax, dataset, x="ratio", y="lambda_H", field="rank")
    # √4 / 20 = .1 and √16 / 20 = .2; √4 / 68 = .029 and √64 / 68 = .118
    expected = np.asarray([[2, 1], [1, 0], [0, 0]])
    for rank, mesh in enumerate(ax.collections):
        inside = ~np.ma.getmaskarray(mesh.get_array()).reshape(3, 2)
        np.testing.assert_array_equal(inside, expected == rank)
    assert legend(ax) == ["0", "1", "2"]
    # whose ratio it is this sweep knows
    assert ax.get_xlabel() == "ratio of largest to smallest class"


@pytest.mark.parametrize("size", [(3.3, 2.6), (6.4, 4.8)], ids=["column", "page"])
def test_the_legend_is_below_a_label_that_is_whole(size):
    figure = Figure(figsize=size, layout="constrained")
    ax = figure.add_subplot()
    plotting.phase(ax, sweep_of(), x="ratio", y="lambda_H", field="rank")
    FigureCanvasAgg(figure).draw()
    label, box = ax.xaxis.label.get_window_extent(), ax.get_legend().get_window_extent()
    assert box.y1 < label.y0 < box.y1 + figure.dpi / 6
    assert figure.bbox.x0 < label.x0 < label.x1 < figure.bbox.x1
    assert figure.bbox.y0 < box.y0


@pytest.mark.parametrize("number", [2, 4, 7])
def test_phases_are_in_order_of_lightness(ax, number):
    regions = {str(i): (i, i) for i in range(number)}
    plotting.phase(ax, sweep_of(), x="ratio", y="lambda_H", field="rank", regions=regions)
    patches = ax.get_legend().get_patches()
    grey = [np.dot(patch.get_facecolor()[:3], [0.299, 0.587, 0.114]) for patch in patches]
    assert np.all(np.diff(grey) > 0.05)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"x": "beta"},
            r"`x` must be a dimension that was swept, ratio, lambda_H, seed; got 'beta'",
        ),
        ({"y": "ratio"}, "`x` and `y` must differ"),
        (
            {"dataset": sweep_of().assign_coords(ratio=[1.0, 100.0, 10.0])},
            "`x` must be a dimension of numbers that rise, or fall",
        ),
        (
            {"dataset": sweep_of().assign_coords(lambda_H=["one", "other"])},
            "`y` must be a dimension of numbers that rise, or fall",
        ),
        ({"regions": {}}, "`regions` must hold a region"),
        ({"regions": [(0, 1)]}, "`regions` must be a mapping from labels"),
        ({"regions": {"a": 3}}, r"`regions\['a'\]` must be two numbers, \(least, largest\); got 3"),
        (
            {"regions": {"a": (3, 1)}},
            r"`regions\['a'\]` must be .*, least <= largest; got \(3, 1\)",
        ),
        (
            {"regions": {"high": (4, 8), "low": (0, 5)}},
            "`regions` must not overlap, but 'high' begins before 'low' ends",
        ),
        (
            {"regions": {"low": (0, 2), "high": (2, 8)}},
            "`regions` must not share a value that the field has; got 2",
        ),
        (
            {"lines": {"a": ([1, 2], [1])}},
            r"`lines\['a'\]` must be two arrays of one shape \(T,\); got \(\(2,\), \(1,\)\)",
        ),
        ({"lines": [[1, 2], [1, 2]]}, "`lines` must be a mapping from labels to pairs of arrays"),
        ({"field": "nc9"}, "`field` must be a variable of `dataset`, value, rank, code"),
        ({"dataset": {}}, "`dataset` must be a dataset, as ufm.sweep returns"),
        ({"dataset": xarray.Dataset()}, "`dataset` must have `code`"),
        ({"field": 3}, "`field` must be a name or an xarray.DataArray"),
        (
            {"field": xarray.DataArray(np.ones(3), dims="ratio")},
            "`field` must have the dimensions that were swept",
        ),
        (
            {"dataset": sweep_of().drop_vars("rank")},
            '`dataset` must hold `logits` and `logits_bias` for the field "rank": sweep with '
            r"report=ufm\.sweeping\.Report\(keep=\[\"logits\"\]\), or keep = \[\"logits\"\] under",
        ),
        (
            # (of a sweep of earlier days, whose bias is not to be told)
            {"dataset": sweep_of(logits=np.ones((3, 2, 2))).drop_vars("rank")},
            "`dataset` must hold `logits` and `logits_bias`",
        ),
    ],
)
def test_what_cannot_be_drawn_is_refused(ax, change, message):
    given = {"dataset": sweep_of(), "x": "ratio", "y": "lambda_H", "field": "rank", **change}
    with pytest.raises(ValueError, match=message):
        plotting.phase(ax, given.pop("dataset"), **given)
