"""Pictures hold the data they were given, and say what is on their axes."""

import io
import itertools

import jax
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from mpl_toolkits.mplot3d import proj3d

from tests.drawing import legend, lines
from ufm import plotting
from ufm.frames import simplex_etf
from ufm.optima import perturbation

SETTING = {"num_classes": 4, "feature_dim": 10, "lambda_W": 2**0.5, "lambda_H": 0.3, "beta": 100.0}


def test_trajectory_puts_flow_script_and_law_on_one_axis(ax):
    ts, steps = np.linspace(0, 3, 31), np.linspace(0, 3, 7)
    measured = np.where(ts > 2.5, np.nan, np.exp(-ts))
    assert (
        plotting.trajectory(
            ax,
            {"flow": (ts, measured), "script": (steps, 2 * steps)},
            laws={"flow": (ts, np.exp(-ts))},
            ylabel="$u$",
        )
        is ax
    )
    drawn = lines(ax)
    np.testing.assert_array_equal(drawn["flow"], [ts, measured])
    np.testing.assert_array_equal(drawn["script"], [steps, 2 * steps])
    law = ax.get_lines()[0]
    np.testing.assert_array_equal(law.get_data(), [ts, np.exp(-ts)])
    assert law.get_color() == ax.get_lines()[1].get_color()
    assert legend(ax) == ["flow", "script"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("time $t$", "$u$")


def test_laws_alone_are_named(ax):
    ts = np.geomspace(1, 10, 5)
    plotting.trajectory(ax, {}, laws={"one": (ts, ts), "two": (ts, 2 * ts)}, log_x=True, log_y=True)
    assert legend(ax) == ["one", "two"]
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")


@pytest.mark.parametrize("kind", [plotting.trajectory, plotting.errors])
def test_many_curves_have_looks_of_their_own(ax, kind):
    """The eighth looked like the first."""
    ts = np.linspace(0, 1, 3)
    kind(ax, {str(k): (ts, k + ts) for k in range(20)})
    curves = ax.get_lines()[:20]
    # each in the plane of colours and dashes, and in that of colours and markers
    assert len({(line.get_color(), str(line._dash_pattern)) for line in curves}) == 20
    assert len({(line.get_color(), line.get_marker()) for line in curves}) == 20


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_errors_mark_machine_precision_and_tolerance(ax, dtype):
    ts = np.arange(3.0)
    plotting.errors(ax, {"law": (ts, [0.0, 1e-9, 1e-3])}, tolerance=1e-8, dtype=dtype)
    drawn, eps = lines(ax), np.finfo(dtype).eps
    # a zero cannot be drawn on a logarithmic axis
    np.testing.assert_allclose(drawn["law"], [ts, [float(eps) / 10, 1e-9, 1e-3]], rtol=1e-15)
    np.testing.assert_array_equal(drawn["machine precision"][1], [eps, eps])
    np.testing.assert_array_equal(drawn["tolerance"][1], [1e-8, 1e-8])
    assert ax.get_yscale() == "log"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("time $t$", "relative error")


def test_staircase_is_sorted_and_measured_on_it(ax):
    spectrum = np.array([0.3, 1.0, 0.5])
    plotting.staircase(ax, {"exact": spectrum}, measured={"exact": spectrum})
    exact, measured = (np.array(line.get_data()) for line in ax.get_lines())
    np.testing.assert_array_equal(exact, [[1, 2, 3], [1.0, 0.5, 0.3]])
    np.testing.assert_array_equal(measured, exact)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("index $i$", r"$\sigma_i(F_{kk})$")


@pytest.mark.parametrize(
    ("vary", "symbol", "end"),
    [("lambda_H", r"$\lambda_H$", 2**-0.5), ("lambda_W", r"$\lambda_W$", 1 / 0.3)],
)
def test_hyperparameters_are_the_exact_gains(ax, vary, symbol, end):
    assert plotting.hyperparameters(ax, vary=vary, **SETTING) is ax
    drawn = lines(ax)
    values = drawn["cross-talk"][0]
    np.testing.assert_allclose(drawn[r"$\lambda_W\lambda_H = 1$"][0], [end, end], rtol=1e-15)
    assert values[-1] < end
    for i in (0, 77, -1):
        setting = {**SETTING, vary: values[i]}
        gains = perturbation.gains(samples_per_class=3, **setting).values
        names = ("noise in the span of the means", "noise off the span", "mean stretched")
        np.testing.assert_allclose([drawn[name][1][i] for name in names], 1 - gains[:3], rtol=1e-12)
        lambdas = {name: setting[name] for name in ("lambda_W", "lambda_H", "beta")}
        np.testing.assert_allclose(
            drawn["cross-talk"][1][i], perturbation.cross_talk(**lambdas), rtol=1e-12
        )
    assert (ax.get_xlabel(), ax.get_ylabel()) == (symbol, "attenuation, cross-talk")


@pytest.fixture
def space():
    figure, ax = plt.subplots(subplot_kw={"projection": "3d"})
    yield ax
    figure.canvas.draw()
    plt.close(figure)


def arrows(ax) -> dict[tuple[str, str], np.ndarray]:
    """End points of what starts at the origin, by dash and colour."""
    found = {}
    for line in ax.get_lines():
        x, y, z = np.array(line.get_data_3d(), dtype=float)
        if len(x) == 2 and x[0] == y[0] == z[0] == 0:
            found[line.get_linestyle(), line.get_color()] = np.array([x[1], y[1], z[1]])
    return found


def test_vectors_are_drawn_as_they_are_up_to_one_turn(space):
    rng = np.random.default_rng(0)
    means, rows = rng.standard_normal((3, 4)), 7 * rng.standard_normal((3, 4))
    assert plotting.vectors(space, {"classifier": rows, "class means": means}) is space
    drawn = arrows(space)
    shown = np.array(
        [[drawn[dash, plotting.COLOURS[k]] for k in range(4)] for dash in ("-", "--")]
    ).reshape(8, 3)
    given = np.concatenate(
        [rows / np.linalg.norm(rows, axis=0).max(), means / np.linalg.norm(means, axis=0).max()],
        axis=1,
    )
    np.testing.assert_allclose(shown @ shown.T, given.T @ given, rtol=0, atol=1e-12)
    assert [text.get_text() for text in space.texts] == ["0", "1", "2", "3"]
    assert legend(space) == ["classifier", "class means"]


def test_vectors_do_not_jump_when_their_gauge_does(space):
    rng = np.random.default_rng(1)
    means, turn = rng.standard_normal((3, 4)), np.linalg.qr(rng.standard_normal((3, 3)))[0]
    plotting.vectors(space, {"class means": means})
    first = arrows(space)
    space.clear()
    plotting.vectors(space, {"class means": turn @ means})
    for name, tip in arrows(space).items():
        np.testing.assert_allclose(tip, first[name], rtol=0, atol=1e-12)


def test_a_simplex_in_many_dimensions_is_seen_whole(space):
    plotting.vectors(
        space, {"class means": np.asarray(simplex_etf(4, dim=9, key=jax.random.key(0)))}
    )
    tips = np.array(list(arrows(space).values()))
    np.testing.assert_allclose(
        tips @ tips.T, np.full((4, 4), -1 / 3) + 4 / 3 * np.eye(4), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("d", [1, 2, 3])
def test_without_alignment_coordinates_are_as_they_are(space, d):
    means = np.random.default_rng(2).standard_normal((d, 5))
    features = np.concatenate([means, 2 * means], axis=1)
    plotting.vectors(
        space,
        {"class means": means},
        samples={"class means": (features, np.tile(np.arange(5), 2))},
        align=False,
    )
    scale = np.linalg.norm(means, axis=0).max()
    drawn = arrows(space)
    for k in range(5):
        np.testing.assert_allclose(
            drawn["-", plotting.COLOURS[k]][:d], means[:, k] / scale, rtol=0, atol=1e-12
        )
    dots = np.array(space.collections[0]._offsets3d)
    np.testing.assert_allclose(dots[:d], features / scale, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(dots[d:], 0)


def test_classes_that_have_become_one_share_their_number_and_zero_is_drawn(space):
    means = np.array([[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    plotting.vectors(space, {"class means": means})
    assert [text.get_text() for text in space.texts] == ["0", "1, 2", "3"]


def test_classes_that_look_alike_from_here_keep_their_numbers(space):
    """Orthogonal rare classes behind three frequent ones were drawn, and labelled, as one."""
    plotting.vectors(space, {"classifier": np.diag([3.0, 3.0, 3.0, 1.0, 1.0])})
    assert sorted(text.get_text() for text in space.texts) == ["0", "1", "2", "3", "4"]
    places = np.array([text.get_position_3d() for text in space.texts])
    gaps = np.linalg.norm(places[:, None] - places, axis=2)[np.triu_indices(5, 1)]
    assert np.min(gaps) >= 0.1
    # 2 of 3 · 9 + 2
    assert space.get_legend().get_title().get_text() == "7% of the energy is not shown"


def test_a_shared_number_has_the_colour_of_the_arrow_on_top(space):
    plotting.vectors(space, {"class means": np.array([[1.0, 0, 0], [0, 1, 1], [0, 0, 0]])})
    (shared,) = (text for text in space.texts if text.get_text() == "1, 2")
    assert shared.get_color() == plotting.COLOURS[2]
    assert space.get_legend().get_title().get_text() == ""


@pytest.mark.parametrize("seed", range(4))
def test_numbers_stand_beyond_what_is_seen(space, seed):
    """On paper they stood on tips that point at the reader, and away from pairs that differ."""
    rng = np.random.default_rng(seed)
    families = {name: rng.standard_normal((3, 5)) for name in ("classifier", "class means")}
    plotting.vectors(space, families)
    space.figure.canvas.draw()

    def seen(point):
        return np.array(proj3d.proj_transform(*point, space.get_proj())[:2])

    origin, tips = seen(np.zeros(3)), arrows(space)
    unit = np.linalg.norm(seen(np.eye(3)[2]) - origin) / np.cos(np.deg2rad(space.elev))
    for text in space.texts:
        k = int(text.get_text().partition(",")[0])
        ends = [seen(tips[dash, plotting.COLOURS[k]]) for dash in ("-", "--")]
        end = max(ends, key=lambda end: np.linalg.norm(end - origin))
        away = (seen(text.get_position_3d()) - end) / unit
        # (things nearer to the reader are larger)
        np.testing.assert_allclose(np.linalg.norm(away), 0.2, rtol=0.2)
        assert away @ (end - origin) > 0


def seen_lengths(ax) -> np.ndarray:
    """Of the arrows, as they lie on the page."""
    tips = np.array([np.zeros(3), *arrows(ax).values()])
    ax.figure.canvas.draw()
    x, y, _ = proj3d.proj_transform(*tips.T, ax.get_proj())
    return np.hypot(x[1:] - x[0], y[1:] - y[0])


@pytest.mark.parametrize("align", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_a_plane_is_seen_along_its_normal(space, seed, align):
    """Vectors of one length are drawn in one length; the usual place saw three within 7 degrees
    of their plane."""
    drawn = np.random.default_rng(seed).standard_normal((3, 3))
    turn = np.linalg.qr(drawn)[0] if seed else np.eye(3)
    plotting.vectors(space, {"class means": turn @ simplex_etf(3, dim=3)}, align=align)
    seen = seen_lengths(space)
    np.testing.assert_allclose(seen, np.mean(seen), rtol=1e-4)


def test_a_plane_of_two_coordinates_is_seen_as_on_paper(space):
    means = np.array([[1.0, 0.0], [0.0, 0.5]])
    plotting.vectors(space, {"class means": means}, align=False)
    assert (space.elev, space.azim) == (90, -90)


def test_what_is_as_long_in_every_direction_is_seen_from_the_usual_place(space):
    plotting.vectors(space, {"class means": np.asarray(simplex_etf(4, dim=3))})
    np.testing.assert_allclose((space.elev, space.azim), (30, -60), rtol=0, atol=0.6)
    plotting.vectors(space, {"class means": np.zeros((3, 3))}, live=True)
    np.testing.assert_allclose((space.elev, space.azim), (30, -60), rtol=0, atol=0.6)


def test_who_has_turned_the_axes_sees_them_from_there(space):
    plane = {"class means": np.asarray(simplex_etf(3, dim=3))}
    plotting.vectors(space, plane, live=True)
    assert space.elev != 30
    for view in ((5, 10), (7, 20)):
        space.view_init(*view)
        plotting.vectors(space, plane, live=True)
        assert (space.elev, space.azim) == view


@pytest.mark.parametrize("layout", [None, "constrained"])
@pytest.mark.parametrize("columns", [1, 3])
def test_the_legend_of_vectors_is_off_the_arrows(layout, columns):
    figure = Figure(figsize=(9, 3), layout=layout)
    axes = np.ravel(figure.subplots(1, columns, subplot_kw={"projection": "3d"}))
    for ax in axes:
        means = np.asarray(simplex_etf(3, dim=3))
        plotting.vectors(ax, {"classifier": means, "class means": means})
    FigureCanvasAgg(figure).draw()
    for ax in axes:
        legend = ax.get_legend().get_window_extent()
        assert figure.bbox.y0 <= legend.y0
        tips = proj3d.proj_transform(*np.array(list(arrows(ax).values())).T, ax.get_proj())[:2]
        for place in ax.transData.transform(np.transpose(tips)):
            assert not legend.padded(10).contains(*place)
        assert not any(text.get_window_extent().overlaps(legend) for text in ax.texts)


@pytest.mark.parametrize("size", [0.0, 1e-9])
def test_what_has_vanished_is_drawn_as_zero(space, size):
    means = np.random.default_rng(3).standard_normal((3, 4))
    plotting.vectors(space, {"classifier": means, "class means": size * means}, floor=1e-8)
    drawn = arrows(space)
    assert len(drawn) == 8
    assert all(np.all(tip == 0) == (dash == "--") for (dash, _), tip in drawn.items())


@pytest.mark.parametrize("above", [False, True])
def test_a_handle_shows_two_periods_of_dash_and_dot(ax, above):
    """With one it looks like two dashes."""
    ts = np.linspace(0, 1, 5)
    plotting.trajectory(ax, {str(k): (ts, k * ts) for k in range(3)})
    if above:
        plotting.legend_above(ax)
    line = ax.get_legend().get_lines()[2]
    assert line.get_linestyle() == "-."
    # a dash of 6.4 line widths, a dot of 1 and two gaps of 1.6
    assert np.ptp(line.get_xdata()) >= 2 * 10.6 * line.get_linewidth()


def test_a_legend_goes_above_the_axes(ax):
    ts = np.linspace(0, 1, 5)
    plotting.errors(ax, {"law": (ts, ts), "other": (ts, 1 - ts)})
    assert plotting.legend_above(ax) is ax
    ax.figure.canvas.draw()
    assert legend(ax) == ["law", "other", "machine precision"]
    assert ax.get_legend().get_window_extent().y0 >= ax.get_window_extent().y1


def test_a_law_of_many_decades_leaves_the_measured_in_sight(ax):
    ts = np.geomspace(1e-1, 1e4, 30)
    measured, law = np.maximum(np.exp(-ts), 1e-12), np.exp(-np.minimum(ts, 700))
    plotting.trajectory(ax, {"norm": (ts, measured)}, laws={"norm": (ts, law)}, log_y=True)
    assert 1e-20 < ax.get_ylim()[0] < 1e-17
    # what is drawn beside it counts as before, and a law that is near is seen whole
    plotting.trajectory(
        ax, {"other": (ts, 1e-2 + measured)}, laws={"l": (ts, 0.1 * law)}, log_y=True
    )
    assert 1e-20 < ax.get_ylim()[0] < 1e-17
    ax.clear()
    plotting.trajectory(
        ax, {"other": (ts, 1e-2 + 0 * ts)}, laws={"l": (ts, 0.1 + 0 * ts)}, log_y=True
    )
    low, high = ax.get_ylim()
    assert low < 1e-2 < 0.1 < high < 0.2


def test_zeros_are_gaps_of_a_logarithmic_axis(ax):
    ts = np.arange(1.0, 5)
    plotting.trajectory(ax, {"u": (ts, np.array([1, 0.1, 0, 0.2]))}, log_y=True)
    (line,) = ax.get_lines()
    ax.figure.canvas.draw()
    drawn = line.get_transform().transform(line.get_xydata())
    np.testing.assert_array_equal(np.isfinite(drawn[:, 1]), [True, True, False, True])


def test_gram_writes_its_entries_in_place(ax):
    matrix = np.array([[2.0, -0.5, 1e-17], [-0.5, 1.0, 0.25], [1e-17, 0.25, 0.125]])
    assert plotting.gram(ax, matrix, title="logits", names="abc") is ax
    (image,) = ax.get_images()
    np.testing.assert_array_equal(image.get_array(), matrix)
    assert image.get_clim() == (-2.0, 2.0)
    written = {
        (text.get_position()[1], text.get_position()[0]): text.get_text() for text in ax.texts
    }
    assert written[0, 1] == "−0.5"
    assert written[0, 2] == "0"
    assert written[2, 2] == "0.12"
    assert [label.get_text() for label in ax.get_xticklabels()] == ["a", "b", "c"]


@pytest.mark.parametrize("power", [0, 4, -5])
def test_gram_writes_large_and_small_entries_in_one_unit(ax, power):
    """It wrote 5e+03 beside −1.9e+03."""
    plotting.gram(ax, 10.0**power * np.array([[2.2, -0.19], [-0.19, 0.5]]))
    written = [text.get_text() for text in ax.texts]
    assert written[:4] == ["2.2", "−0.19", "−0.19", "0.5"]
    assert written[4:] == [rf"$\times 10^{{{power}}}$"] * (power != 0)


@pytest.mark.parametrize("width", [3.3, 6.8])
@pytest.mark.parametrize("panels", [1, 2, 3])
def test_gram_writes_numbers_that_fit_their_cells(width, panels):
    figure = Figure(figsize=(width, 1.9), layout="constrained")
    axes = figure.subplots(1, panels, squeeze=False)[0]
    matrix = np.array([[0.19, -0.077, 1], [-0.077, 1.3, 0.2], [1, 0.2, 0]])
    for ax in axes:
        plotting.gram(ax, matrix)
    FigureCanvasAgg(figure).draw()
    cell = axes[0].bbox.width / 3
    boxes = [text.get_window_extent() for text in axes[0].texts]
    assert len(boxes) == 9
    widest = max(box.width for box in boxes)
    assert widest < cell
    (size,) = {text.get_size() for text in axes[0].texts}
    # where there is room they are as large as other small words
    assert widest > 0.75 * cell or size == Text(fontsize="small").get_size()


def test_gram_of_many_classes_or_of_nothing(ax):
    plotting.gram(ax, np.zeros((9, 9)))
    assert len(ax.texts) == 0
    assert ax.get_images()[0].get_clim() == (-1.0, 1.0)


def shown_names(axis) -> list:
    """The labels of an axis as they are drawn, in their order along it."""
    axis.axes.figure.canvas.draw()
    low, high = sorted(axis.get_view_interval())
    ticks = [tick for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
    return [tick.label1 for tick in ticks]


@pytest.mark.parametrize("names", [None, [f"the class {k}" for k in range(40)], ["$a$"] * 40])
@pytest.mark.parametrize("size", [2, 5, 30])
@pytest.mark.parametrize("rotation", [0, 90])
def test_gram_draws_the_names_that_fit(ax, names, size, rotation):
    """None touches its neighbour, and in a large figure all are drawn."""
    ax.figure.set_size_inches(size, size)
    plotting.gram(ax, np.eye(40), names=names)
    ax.tick_params("x", rotation=rotation)
    for axis in (ax.xaxis, ax.yaxis):
        drawn = shown_names(axis)
        boxes = [label.get_window_extent() for label in drawn]
        assert not any(box.overlaps(other) for box, other in itertools.pairwise(boxes))
        assert drawn
        if size == 30:
            assert len(drawn) == 40 or (names and "class" in names[0] and axis is ax.xaxis)


@pytest.mark.parametrize("names", [["aeroplane", "automobile"], ["aeroplane", "ship"] * 4])
def test_gram_turns_names_that_do_not_fit_side_by_side(names):
    """Of two names one was drawn."""
    ax = Figure(figsize=(6.75, 6), layout="constrained").subplots(2, 2)[0, 0]
    FigureCanvasAgg(ax.figure)
    plotting.gram(ax, np.eye(len(names)), names=names)
    assert [label.get_text() for label in shown_names(ax.xaxis)] == names


def test_gram_keeps_round_numbers(ax):
    plotting.gram(ax, np.eye(40))
    tens = [str(k) for k in range(0, 40, 5)]
    assert [label.get_text() for label in shown_names(ax.xaxis)] == tens


def test_gram_of_many_classes_has_one_colour_bar(ax):
    """As high as the matrix, with its scale, and none where the numbers are written."""
    plotting.gram(ax, np.eye(9))
    plotting.gram(ax, 3 * np.eye(40))
    (bar,) = [other for other in ax.figure.axes if other is not ax]
    assert bar.get_ylim() == (-3.0, 3.0)
    ax.figure.canvas.draw()
    assert bar.get_window_extent().height <= 1.1 * ax.get_window_extent().height
    ax.clear()
    plotting.gram(ax, np.eye(9))
    assert bar.get_ylim() == (-1.0, 1.0)
    plotting.gram(ax, np.eye(8))
    assert not bar.get_visible()
    assert ax.figure.axes == [ax, bar]


def test_png_is_the_figure(ax):
    image = plt.imread(io.BytesIO(plotting.png(ax.figure, dpi=50)))
    width, height = ax.figure.get_size_inches() * 50
    assert image.shape[:2] == (height, width)


def test_colours_are_told_apart_in_grey():
    assert (
        len(set(plotting.COLOURS))
        == len(set(map(str, plotting.DASHES)))
        == len(set(plotting.MARKERS))
        == 7
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        pytest.param(
            lambda ax: plotting.trajectory(ax, {"u": ([0.0, 1.0], [1.0])}),
            r"`curves\['u'\]` must be two arrays of one shape",
            id="shape",
        ),
        pytest.param(
            lambda ax: plotting.trajectory(ax, object()),
            "`curves` must be a mapping from labels to pairs of arrays; got object",
            id="no-mapping",
        ),
        pytest.param(
            lambda ax: plotting.staircase(ax, {"u": [1.0]}, measured={"u": [np.nan]}),
            r"`measured\['u'\]` must be finite",
            id="spectrum",
        ),
        pytest.param(
            lambda ax: plotting.errors(ax, {"u": ([0.0], [-1.0])}),
            r"`curves\['u'\]` must be errors >= 0",
            id="negative-error",
        ),
        pytest.param(
            lambda ax: plotting.hyperparameters(ax, vary="beta", **SETTING),
            '`vary` must be "lambda_H" or "lambda_W"; got beta',
            id="vary",
        ),
        pytest.param(
            lambda ax: plotting.hyperparameters(
                ax, vary="lambda_H", **{**SETTING, "lambda_W": 0.0}
            ),
            "`lambda_W` must be finite and > 0; got 0.0",
            id="held-decay",
        ),
        pytest.param(
            lambda ax: plotting.vectors(ax, {"W": np.eye(3), "H": np.eye(2)}),
            r"`families` must hold matrices \(d, K\) of one shape",
            id="families",
        ),
        pytest.param(
            lambda ax: plotting.vectors(
                ax, {"W": np.eye(3)}, samples={"H": (np.eye(2), np.arange(2))}
            ),
            r"`samples\['H'\]` must have features \(d, C\), d = 3",
            id="samples",
        ),
        pytest.param(
            lambda ax: plotting.vectors(
                ax, {"W": np.eye(3)}, samples={"H": (np.eye(3), np.arange(2))}
            ),
            r"`samples\['H'\]` must have one class for each column",
            id="sample-classes",
        ),
        pytest.param(
            lambda ax: plotting.gram(ax, np.zeros((2, 3))),
            r"`matrix` must have shape \(K, K\)",
            id="gram",
        ),
        pytest.param(
            lambda ax: plotting.gram(ax, np.eye(2), names="abc"),
            "`names` must hold K = 2 names",
            id="gram-names",
        ),
        pytest.param(
            lambda ax: plotting.gram(ax, np.full((2, 2), np.nan)),
            "`matrix` must be finite",
            id="gram-nan",
        ),
        pytest.param(
            lambda ax: plotting.gram(ax, np.zeros((0, 0))),
            "`matrix` must not be empty",
            id="gram-of-nothing",
        ),
        pytest.param(
            lambda ax: plotting.gram(ax, np.eye(2), limit=-1.0),
            "`limit` must be finite and > 0; got -1",
            id="gram-limit",
        ),
        pytest.param(
            lambda ax: plotting.vectors(ax, np.eye(3)),
            "`families` must be a mapping from labels",
            id="families-matrix",
        ),
        pytest.param(
            lambda ax: plotting.vectors(ax, {}),
            r"`families` must hold matrices \(d, K\) of one shape; got {}",
            id="no-families",
        ),
        pytest.param(
            lambda ax: plotting.vectors(ax, {"W": np.zeros((3, 0))}),
            r"`families\['W'\]` must not be empty",
            id="no-class",
        ),
        pytest.param(
            lambda ax: plotting.vectors(ax, {"W": np.full((3, 3), np.inf)}),
            r"`families\['W'\]` must be finite",
            id="families-inf",
        ),
        pytest.param(
            lambda ax: plotting.vectors(ax, {"W": np.eye(3)}, samples={"H": np.eye(3)}),
            r"`samples\['H'\]` must be features and the class of each",
            id="samples-alone",
        ),
    ],
)
def test_bad_input(ax, space, call, message):
    of_space = "vectors" in call.__code__.co_names
    with pytest.raises(ValueError, match=message):
        call(space if of_space else ax)


def test_vectors_need_space(ax):
    with pytest.raises(ValueError, match=r'`ax` must be axes made with `projection="3d"`'):
        plotting.vectors(ax, {"W": np.eye(3)})
