"""Pictures hold the data they were given, and say what is on their axes."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from ufm import plot
from ufm.optima import perturbation

SETTING = {"num_classes": 4, "feature_dim": 10, "lambda_W": 2**0.5, "lambda_H": 0.3, "beta": 100.0}


@pytest.fixture
def ax():
    figure, ax = plt.subplots()
    yield ax
    figure.canvas.draw()
    plt.close(figure)


def lines(ax) -> dict[str, np.ndarray]:
    """What is drawn, by label; the first line of a label counts."""
    found = {}
    for line in ax.get_lines():
        found.setdefault(line.get_label(), np.array(line.get_data(), dtype=float))
    return found


def legend(ax) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_trajectory_puts_flow_script_and_law_on_one_axis(ax):
    ts, steps = np.linspace(0, 3, 31), np.linspace(0, 3, 7)
    measured = np.where(ts > 2.5, np.nan, np.exp(-ts))
    assert plot.trajectory(ax, {"flow": (ts, measured), "script": (steps, 2 * steps)}, laws={"flow": (ts, np.exp(-ts))}, ylabel="$u$") is ax
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
    plot.trajectory(ax, {}, laws={"one": (ts, ts), "two": (ts, 2 * ts)}, log_x=True, log_y=True)
    assert legend(ax) == ["one", "two"]
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_errors_mark_machine_precision_and_tolerance(ax, dtype):
    ts = np.arange(3.0)
    plot.errors(ax, {"law": (ts, [0.0, 1e-9, 1e-3])}, tolerance=1e-8, dtype=dtype)
    drawn, eps = lines(ax), np.finfo(dtype).eps
    # a zero cannot be drawn on a logarithmic axis
    np.testing.assert_allclose(drawn["law"], [ts, [float(eps) / 10, 1e-9, 1e-3]], rtol=1e-15)
    np.testing.assert_array_equal(drawn["machine precision"][1], [eps, eps])
    np.testing.assert_array_equal(drawn["tolerance"][1], [1e-8, 1e-8])
    assert ax.get_yscale() == "log"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("time $t$", "relative error")


def test_staircase_is_sorted_and_measured_on_it(ax):
    spectrum = np.array([0.3, 1.0, 0.5])
    plot.staircase(ax, {"exact": spectrum}, measured={"exact": spectrum})
    exact, measured = (np.array(line.get_data()) for line in ax.get_lines())
    np.testing.assert_array_equal(exact, [[1, 2, 3], [1.0, 0.5, 0.3]])
    np.testing.assert_array_equal(measured, exact)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("index $i$", r"$\sigma_i(F_{kk})$")


@pytest.mark.parametrize(("vary", "symbol", "end"), [("lambda_H", r"$\lambda_H$", 2**-0.5), ("lambda_W", r"$\lambda_W$", 1 / 0.3)])
def test_hyperparameters_are_the_exact_gains(ax, vary, symbol, end):
    assert plot.hyperparameters(ax, vary=vary, **SETTING) is ax
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
        np.testing.assert_allclose(drawn["cross-talk"][1][i], perturbation.cross_talk(**lambdas), rtol=1e-12)
    assert (ax.get_xlabel(), ax.get_ylabel()) == (symbol, "attenuation")


def test_colours_are_told_apart_in_grey():
    assert len(set(plot.COLOURS)) == len(set(map(str, plot.DASHES))) == len(set(plot.MARKERS)) == 7


@pytest.mark.parametrize(
    ("call", "message"),
    [
        pytest.param(
            lambda ax: plot.trajectory(ax, {"u": ([0.0, 1.0], [1.0])}),
            "the times and values of 'u' must be two arrays of one shape",
            id="shape",
        ),
        pytest.param(lambda ax: plot.errors(ax, {"u": ([0.0], [-1.0])}), r"`curves\['u'\]` must be errors >= 0", id="negative-error"),
        pytest.param(
            lambda ax: plot.hyperparameters(ax, vary="beta", **SETTING), '`vary` must be "lambda_H" or "lambda_W"; got beta', id="vary"
        ),
    ],
)
def test_bad_input(ax, call, message):
    with pytest.raises(ValueError, match=message):
        call(ax)
