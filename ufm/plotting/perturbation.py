"""Spectra of the perturbation map, on the `ax` of the caller."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes

from ufm._validate import require, require_finite, require_instance, require_positive
from ufm.optima import perturbation
from ufm.plotting.style import (
    COLOURS,
    DASHES,
    MARKERS,
    REFERENCE,
    colours_of,
    finished,
    styled,
)


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

    Raises
    ------
    ValueError
        For singular values that are not finite, or not (p,).
    """
    measured = measured or {}
    for name, given in (("spectra", spectra), ("measured", measured)):
        require_instance(name, given, Mapping, "a mapping from labels to singular values")
        for label, values in given.items():
            require_finite(f"{name}[{label!r}]", values, ndim=1)
    colours = colours_of([*spectra, *measured])
    for i, (label, values) in enumerate(spectra.items()):
        values = np.sort(np.asarray(values, dtype=float))[::-1]
        index = np.arange(1, len(values) + 1)
        ax.step(
            index,
            values,
            where="mid",
            color=colours[label],
            linestyle=styled(DASHES, i),
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
            marker=styled(MARKERS, i),
            markersize=3.5,
            markerfacecolor="white",
            color=colours[label],
            label=None if label in spectra else label,
        )
    return finished(ax, "index $i$", r"$\sigma_i(F_{kk})$")


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
    name, held = ("lambda_W", lambda_W) if vary == "lambda_H" else ("lambda_H", lambda_H)
    require_positive(name, held, shape=())
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
    ax.axvline(end, linestyle=":", label=r"$\lambda_W\lambda_H = 1$", **REFERENCE)
    symbol, other = (
        (r"$\lambda_H$", r"\lambda_W") if vary == "lambda_H" else (r"$\lambda_W$", r"\lambda_H")
    )
    ax.set_title(rf"$\beta = {beta:g}$, ${other} = {held:.3g}$", fontsize="medium")
    # towards the end of collapse 1 − g falls to zero: three decades tell the story
    top = 2 * np.max(rows)
    ax.set_ylim(1e-3 * top, top)
    return finished(ax, symbol, "attenuation, cross-talk", log_x=True, log_y=True)
