"""Phase diagrams hold the cells of a sweep: of its best seed, and grey where nothing was solved."""

from __future__ import annotations

import numpy as np
import pytest
import xarray
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

import ufm
from tests.drawing import legend, lines
from ufm import plotting
from ufm.command_line.spec import spec_of
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
    return [np.ma.filled(mesh.get_array(), np.nan).reshape(2, 3) for mesh in ax.collections]


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
    assert legend(ax) == ["few", "many", "threshold"]
    assert ax.get_legend().get_title().get_text() == ""
    few, many = cells(ax)
    np.testing.assert_array_equal(np.isfinite(few), [[0, 1, 0], [1, 1, 0]])
    np.testing.assert_array_equal(np.isfinite(many), [[1, 0, 0], [0, 0, 0]])
    np.testing.assert_array_equal(lines(ax)["threshold"], bounds["threshold"])


def without_value(ax) -> dict[str, np.ndarray]:
    """Which cells (y, x) have no value, by their entry in the legend: those with its look."""
    found = {}
    cells = [layer for layer in ax.collections if isinstance(layer, PolyCollection)]
    for layer, entry in zip(cells, ax.get_legend().get_patches()[-len(cells) :], strict=True):
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
