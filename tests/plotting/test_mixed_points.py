"""Pictures of mixed points hold the data they were given, in the colours of λ."""

import numpy as np
import pytest

from tests.drawing import legend, lines
from ufm import plotting


def test_three_class_scatter(ax):
    points = np.array([[1.0, 2.0, 3.0, 4.0], [0.0, 1.0, 0.0, -1.0]])
    lam, same = np.array([0.5, 1.0, 0.2, 0.5]), np.array([False, False, False, True])
    corners, curve = (
        np.array([[1.0, -1.0, 0.0], [-0.5, -0.5, 1.0]]),
        np.array([[0.0, 1.0, np.nan, 2.0], [0.0, 1.0, np.nan, 2.0]]),
    )
    assert (
        plotting.three_class_scatter(
            ax, points, lam=lam, same=same, classifier=corners, curves={"theory": curve}
        )
        is ax
    )
    two, one = ax.collections
    np.testing.assert_array_equal(two.get_offsets(), points[:, :3].T)
    np.testing.assert_array_equal(one.get_offsets(), points[:, 3:].T)
    # blue for two classes, red for one, black at λ = 1/2
    np.testing.assert_allclose(
        two.get_facecolors(), [[0, 0, 0, 1], [0, 0, 1, 1], [0, 0, 0.6, 1]], rtol=1e-14
    )
    np.testing.assert_allclose(one.get_facecolors(), [[0, 0, 0, 1]], rtol=1e-14)
    drawn = lines(ax)
    np.testing.assert_array_equal(drawn["theory"], curve)
    np.testing.assert_array_equal(drawn["classifier"][:, 1::3], corners)
    np.testing.assert_array_equal(drawn["classifier"][:, 0::3], 0)
    assert set(legend(ax)) == {"classifier", "two classes mixed", "one class", "theory"}
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_aspect()) == ("$x_1$", "$x_2$", 1.0)


def test_a_scatter_of_one_kind_names_only_that(ax):
    plotting.three_class_scatter(ax, np.ones((2, 3)), lam=np.full(3, 0.9), same=np.ones(3, bool))
    (one,) = ax.collections
    np.testing.assert_allclose(one.get_facecolors(), np.tile([0.8, 0, 0, 1], (3, 1)), rtol=1e-14)


def test_reliability(ax):
    curve = (np.array([0.3, np.nan, 0.9]), np.array([0.25, np.nan, 1.0]))
    assert plotting.reliability(ax, {"mixup": curve}) is ax
    drawn = lines(ax)
    np.testing.assert_array_equal(drawn["mixup"], curve)
    np.testing.assert_array_equal(drawn["perfectly calibrated"], [[0, 1], [0, 1]])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("confidence", "accuracy")


def test_channel_width(ax):
    lam = np.array([0.9, 0.5, 0.1])
    logit = np.log(lam / (1 - lam))
    assert (
        plotting.channel_width(ax, {"measured": (lam, 2 * logit)}, laws={"measured": (lam, logit)})
        is ax
    )
    order = [2, 1, 0]
    np.testing.assert_allclose(lines(ax)["measured"], [logit[order], 2 * logit[order]], rtol=1e-15)
    np.testing.assert_allclose(lines(ax)["no decay"], [[logit[2], logit[0]]] * 2, rtol=1e-15)
    assert (ax.get_xlabel(), ax.get_ylabel()) == (r"$\mathrm{logit}\,\lambda$", "$u_i - u_j$")
    assert legend(ax) == ["no decay", "measured"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        pytest.param(
            lambda ax: plotting.three_class_scatter(
                ax, np.ones((3, 2)), lam=np.ones(2), same=np.ones(2)
            ),
            r"`points` must have shape \(2, C\)",
            id="points",
        ),
        pytest.param(
            lambda ax: plotting.three_class_scatter(
                ax, np.ones((2, 3)), lam=np.ones(2), same=np.ones(3)
            ),
            r"`lam` and `same` must have shape \(3,\)",
            id="lam",
        ),
        pytest.param(
            lambda ax: plotting.three_class_scatter(
                ax, np.ones((2, 1)), lam=[1], same=[True], classifier=np.eye(3)
            ),
            "`classifier` must have shape",
            id="classifier",
        ),
        pytest.param(
            lambda ax: plotting.reliability(ax, {"a": ([0.0], [0.0, 1.0])}),
            r"`curves\['a'\]` must be two arrays",
            id="curve",
        ),
        pytest.param(
            lambda ax: plotting.reliability(ax, {"a": ([0.5, 1.2], [np.nan, 1.0])}),
            r"`curves\['a'\]` must be confidences and accuracies in \[0, 1\]; got \[1.2\]",
            id="confidence",
        ),
        pytest.param(
            lambda ax: plotting.three_class_scatter(
                ax, np.ones((2, 1)), lam=[1], same=[True], curves={"a": np.ones((3, 2))}
            ),
            r"`curves\['a'\]` must be two arrays of one shape",
            id="theory",
        ),
        pytest.param(
            lambda ax: plotting.channel_width(ax, {"a": ([0.5, 1.0], [0.0, 1.0])}),
            r"λ of 'a' must be in \(0, 1\)",
            id="ends",
        ),
        pytest.param(
            lambda ax: plotting.channel_width(ax, {}),
            "`curves` must hold a curve where `laws` holds none; got {}",
            id="no-curve",
        ),
        pytest.param(
            lambda ax: plotting.channel_width(ax, {"a": ([0.5], [0.0, 1.0])}),
            "λ and width of 'a' must be two arrays",
            id="width",
        ),
    ],
)
def test_bad_input(ax, call, message):
    with pytest.raises(ValueError, match=message):
        call(ax)
