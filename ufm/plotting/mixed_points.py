"""Pictures of mixed points: the plane of three classes, reliability curves, widths of channels.

In the style of `charts`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes

from ufm._validate import require
from ufm.plotting.artists import Artists
from ufm.plotting.charts import measured_and_exact, trajectory
from ufm.plotting.style import Series, checked_series, finished

_REFERENCE = {"color": "0.45", "linewidth": 0.9, "zorder": 1}


def three_class_scatter(
    ax: Axes,
    points,
    *,
    lam,
    same,
    classifier=None,
    curves: Mapping[str, np.ndarray] | None = None,
    live=False,
) -> Axes:
    r"""Mixed points in the plane of three classes.

    Same-class mixtures red, different-class mixtures blue, both black at λ = ½: the red or blue of
    a point is $2|\lambda - \frac12|$, as in Fisher, Meng & Papyan 2024.

    Parameters
    ----------
    ax
        Where to draw.
    points
        (2, C), from `ufm.analysis.three_class_projection`.
    lam, same
        (C,) each: λ, and whether both classes are one.
    classifier
        (2, 3), the projected classifiers, drawn as rays.
    curves
        Label → (2, T), lines of theory behind the points, with a gap where NaN.
    live
        Move what the last live call has drawn on `ax`, as in `trajectory`.

    Returns
    -------
    Axes
        The same.

    Raises
    ------
    ValueError
        For shapes that disagree.
    """
    points, lam, same = (
        np.asarray(points, dtype=float),
        np.asarray(lam, dtype=float),
        np.asarray(same, dtype=bool),
    )
    require(points.ndim == 2 and len(points) == 2, "`points` must have shape (2, C)", points.shape)
    C = points.shape[1]
    require(
        lam.shape == same.shape == (C,),
        f"`lam` and `same` must have shape ({C},), one for each point",
        (lam.shape, same.shape),
    )
    laws = {label: tuple(np.asarray(curve, dtype=float)) for label, curve in (curves or {}).items()}
    laws = checked_series("curves", laws)
    artists = Artists(ax, live=live)
    if classifier is not None:
        _rays(artists, classifier)
    _mixtures(artists, points, lam, same)
    # room for the legend beside the triangle
    if not artists.again:
        ax.margins(0.2)
        ax.set_aspect("equal", adjustable="datalim")
    measured_and_exact(artists, {}, laws)
    return finished(ax, "$x_1$", "$x_2$", artists=artists)


def _rays(artists: Artists, classifier) -> None:
    """The three projected rows of the classifier, from the origin to a star."""
    corners = np.asarray(classifier, dtype=float)
    require(
        corners.shape == (2, 3),
        "`classifier` must have shape (2, 3), the three projected rows",
        corners.shape,
    )
    rays = np.stack([0 * corners, corners, np.full_like(corners, np.nan)], axis=-1).reshape(2, 9)
    artists.line(
        "classifier",
        *rays,
        color="black",
        linewidth=0.9,
        marker="*",
        markersize=8,
        markevery=slice(1, None, 3),
        label="classifier",
        zorder=2.5,
    )


def _mixtures(artists: Artists, points: np.ndarray, lam: np.ndarray, same: np.ndarray) -> None:
    """The points, by how many classes they mix, with a key for each kind there is."""
    strength = 2 * np.abs(np.clip(lam, 0, 1) - 0.5)
    for label, chosen, channel, marker in (
        ("two classes mixed", ~same, 2, "o"),
        ("one class", same, 0, "s"),
    ):
        if chosen.any():
            colours = np.zeros((int(chosen.sum()), 3))
            colours[:, channel] = strength[chosen]
            size = 10 if marker == "o" else 26
            artists.dots(
                label,
                *points[:, chosen],
                s=size,
                c=colours,
                marker=marker,
                linewidths=0,
                zorder=3,
            )
            # in the legend the full colour, not that of some point
            key = {"marker": marker, "markersize": size**0.5, "markeredgewidth": 0}
            full = tuple(float(channel == c) for c in range(3))
            artists.line(f"{label} key", (), (), color=full, linestyle="none", label=label, **key)


def reliability(ax: Axes, curves: Series) -> Axes:
    """Reliability curves.

    How often a prediction is right against its confidence, with the diagonal of perfect
    calibration.

    `curves`: label → (confidence (B,), accuracy (B,)) in [0, 1], as a `Reliability` has them; an
    empty bin, which is NaN, leaves a gap. Raises `ValueError` for any others.
    """
    for label, pair in checked_series("curves", curves).items():
        values = np.concatenate(pair)
        # (a mean of numbers in single precision is above 1 by rounding)
        inside = np.isnan(values) | ((values >= 0) & (values <= 1 + 1e-6))
        words = f"`curves[{label!r}]` must be confidences and accuracies in [0, 1]"
        require(inside.all(), words, values[~inside])
    ax.plot([0, 1], [0, 1], label="perfectly calibrated", **_REFERENCE)
    ax.set_xlim(0, 1.02)
    ax.set_ylim(0, 1.02)
    return trajectory(ax, curves, xlabel="confidence", ylabel="accuracy")


def channel_width(ax: Axes, curves: Series, *, laws: Series | None = None, live=False) -> Axes:
    r"""Widths of channels against $\mathrm{logit}\,\lambda$.

    With the diagonal $u_i - u_j = \mathrm{logit}\,\lambda$ of vanishing decay.

    Parameters
    ----------
    ax
        Where to draw.
    curves, laws
        Label → (λ (C,), $u_i - u_j$ (C,)), each drawn in the order of λ.
    live
        Move what the last live call has drawn on `ax`, as in `trajectory`.

    Returns
    -------
    Axes
        The same.

    Raises
    ------
    ValueError
        For a λ outside (0, 1), and where there is neither a curve nor a law.
    """
    require(curves or laws, "`curves` must hold a curve where `laws` holds none", curves)
    curves, laws = (
        {label: _by_logit(label, *pair) for label, pair in series.items()}
        for series in (curves, laws or {})
    )
    ends = [xs[i] for xs, _ in (*curves.values(), *laws.values()) for i in (0, -1)]
    artists, diagonal = Artists(ax, live=live), [min(ends), max(ends)]
    artists.line("diagonal", diagonal, diagonal, label="no decay", **_REFERENCE)
    measured_and_exact(artists, curves, laws)
    return finished(ax, r"$\mathrm{logit}\,\lambda$", "$u_i - u_j$", artists=artists)


def _by_logit(label: str, lam, values) -> tuple[np.ndarray, np.ndarray]:
    """The pair in the order of λ, as logit λ and value."""
    lam, values = np.asarray(lam, dtype=float), np.asarray(values, dtype=float)
    require(
        lam.ndim == 1 and lam.shape == values.shape,
        f"λ and width of {label!r} must be two arrays of one shape (C,)",
        lam.shape,
    )
    require(
        len(lam) > 0 and np.all((lam > 0) & (lam < 1)), f"the λ of {label!r} must be in (0, 1)", lam
    )
    order = np.argsort(lam)
    return np.log(lam[order]) - np.log1p(-lam[order]), values[order]
