"""Pictures that follow controls: artists are moved, not made anew, and stale events are dropped."""

from __future__ import annotations

import asyncio
import gc
import time
import weakref

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ufm import plotting


def lengths(ax, seed, **live):
    rng = np.random.default_rng(seed)
    ts = np.arange(1.0, 4 + seed % 2)
    curves = {name: (ts, (1 + seed) * rng.random(len(ts))) for name in ("classifier", "means")}
    # every third state has no law: its curves are drawn otherwise, and so is the legend
    laws = {"classifier": (ts, rng.random(len(ts)))} if seed % 3 else {}
    plotting.trajectory(ax, curves, laws=laws, xlabel="class", ylabel="length", **live)


def arrows(ax, seed, **live):
    vectors = np.random.default_rng(seed).standard_normal((2, 3, 4))
    if seed % 2:
        # two classes become one, and their numbers a single one
        vectors[:, :, 3] = vectors[:, :, 2]
    ax.view_init(elev=20, azim=30 * seed)
    plotting.vectors(ax, {"classifier": vectors[0], "class means": vectors[1]}, **live)


def samples(ax, seed, **live):
    rng = np.random.default_rng(seed)
    means, features = rng.standard_normal((3, 3)), rng.standard_normal((3, 12))
    dots = {"features": (features, np.arange(12) % 3)}
    plotting.vectors(ax, {"class means": means}, samples=dots, **live)


def mixtures(ax, seed, **live):
    rng = np.random.default_rng(seed)
    points, lam = (1 + seed) * rng.standard_normal((2, 20)), rng.random(20)
    curves, rows = {"closed form": rng.standard_normal((2, 9))}, rng.standard_normal((2, 3))
    given = {"lam": lam, "same": np.arange(20) % 4 == 0, "classifier": rows, "curves": curves}
    plotting.three_class_scatter(ax, points, **given, **live)


def widths(ax, seed, **live):
    rng = np.random.default_rng(seed)
    pair = np.linspace(0.01 * (1 + seed), 0.9, 7), rng.standard_normal(7)
    plotting.channel_width(ax, {"features": pair}, laws={"features": pair}, **live)


CHARTS = {
    "trajectory": (lengths, None),
    "vectors": (arrows, "3d"),
    "vectors of samples": (samples, "3d"),
    "three_class_scatter": (mixtures, None),
    "channel_width": (widths, None),
}


def axes_of(projection):
    figure = Figure(figsize=(4, 3))
    FigureCanvasAgg(figure)
    return figure.add_subplot(projection=projection)


def pixels(ax) -> np.ndarray:
    ax.figure.canvas.draw()
    return np.asarray(ax.figure.canvas.buffer_rgba())


@pytest.mark.parametrize(("draw", "projection"), CHARTS.values(), ids=CHARTS)
def test_a_moved_picture_is_the_one_that_is_drawn_afresh(draw, projection):
    live = axes_of(projection)
    for seed in range(5):
        draw(live, seed, live=True)
        fresh = axes_of(projection)
        draw(fresh, seed, live=True)
        np.testing.assert_array_equal(pixels(live), pixels(fresh))


@pytest.mark.parametrize("chart", [name for name in CHARTS if name != "vectors of samples"])
def test_artists_are_moved_and_not_made_anew(chart):
    draw, projection = CHARTS[chart]
    ax = axes_of(projection)
    draw(ax, 1, live=True)
    before, legend = ax.get_children(), ax.get_legend()
    draw(ax, 5, live=True)
    assert ax.get_children() == before
    assert ax.get_legend() is legend


def test_a_live_chart_leaves_the_artists_of_others_alone():
    ax = axes_of(None)
    (other,) = ax.plot([0, 1], [0, 1])
    for seed in (1, 2, 3):
        lengths(ax, seed, live=True)
    assert ax.get_lines()[0] is other
    # and draws anew on axes that were cleared
    ax.clear()
    lengths(ax, 1, live=True)
    assert len(ax.get_lines()) == 3


def test_a_figure_that_is_let_go_is_freed():
    ax = axes_of(None)
    lengths(ax, 1, live=True)
    gone = weakref.ref(ax)
    del ax
    gc.collect()
    assert gone() is None


def test_stale_events_are_dropped():
    """Twenty events that wait make one drawing, of the last value; those that come while it is
    made, one more."""
    seen, value = [], [0]

    def draw():
        seen.append(value[0])
        if len(seen) == 1:
            for late in range(100, 120):
                asyncio.get_running_loop().call_soon(move, late)

    live = plotting.Live(draw)

    def move(to):
        value[0] = to
        live({"new": to})

    async def drag():
        for to in range(20):
            asyncio.get_running_loop().call_soon(move, to)
        while len(seen) < 2:
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.05)

    asyncio.run(drag())
    assert seen == [19, 119]
    assert live.drawings == 2


def test_events_get_a_share_of_the_time_that_drawings_take(monkeypatch):
    delays = []

    class Loop:
        def call_later(self, delay, call):
            delays.append(delay)
            return asyncio.TimerHandle(delay, call, (), self)

        def _timer_handle_cancelled(self, handle):
            pass

        def get_debug(self):
            return False

    monkeypatch.setattr(asyncio, "get_running_loop", Loop)
    live = plotting.Live(lambda: time.sleep(0.05), wait=0.01)
    live()
    live.now()
    live()
    assert delays == [0.01, live.seconds / 2]
    assert live.seconds >= 0.05


def test_what_is_drawn_now_is_not_drawn_again():
    seen = []
    live = plotting.Live(lambda: seen.append(1))

    async def script():
        live()
        live.now()
        await asyncio.sleep(0.03)

    asyncio.run(script())
    assert seen == [1]


def test_without_a_loop_a_picture_follows_at_once_and_an_error_does_not_end_it():
    answers = [None, ZeroDivisionError(), None]

    def draw():
        if (answer := answers.pop(0)) is not None:
            raise answer

    live = plotting.Live(draw)
    live()
    with pytest.raises(ZeroDivisionError):
        live()
    live()
    assert (live.drawings, answers) == (2, [])
    assert live.seconds >= 0


def test_png_of_a_moved_picture_needs_no_pyplot():
    ax = axes_of(None)
    lengths(ax, 1, live=True)
    assert plotting.png(ax.figure)[:4] == b"\x89PNG"
    assert plt.get_fignums() == []


@pytest.mark.parametrize("chart", ["trajectory", "three_class_scatter", "channel_width"])
def test_the_legend_of_a_live_chart_is_off_the_data(chart):
    draw, projection = CHARTS[chart]
    ax = axes_of(projection)
    draw(ax, 1, live=True)
    ax.figure.canvas.draw()
    assert ax.get_legend().get_window_extent().y0 >= ax.get_window_extent().y1
