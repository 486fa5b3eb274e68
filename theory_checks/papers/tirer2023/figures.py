"""Tirer, Huang & Niles-Weed 2023: the staircase spectrum, monotonicity on the central path, the
effect of the hyperparameters."""

from __future__ import annotations

import numpy as np

from theory_checks.engine.figures.data import Data, Need
from theory_checks.engine.figures.registry import figure
from theory_checks.engine.figures.style import (
    COLOURS,
    COLUMN,
    DASHES,
    MARKERS,
    REFERENCE,
    Figure,
    canvas,
    letter,
    plotting,
)
from theory_checks.engine.registry import Case
from theory_checks.papers.tirer2023.anchors import PATHS
from theory_checks.papers.tirer2023.first_order import STAIRS, SWEEPS

_GAINS = "tirer2023/gain-spectrum"


@figure("tirer2023/staircase", Need(_GAINS, STAIRS, ("staircase",)))
def staircase(data: Data) -> Figure:
    """Singular values of a diagonal block of the first-order map: exact steps, measured markers; K
    = 4, n = d = 10, β = 100, λ_W = √2.

    F is the map from a small change of the anchor to that of the features at the optimum, F_kk its
    block from the samples of a class to those of the same class.
    """
    drawn, axes = canvas(width=COLUMN, height=2.3)
    laws, measured = {}, {}
    for case in STAIRS:
        source = data.one(_GAINS, case)
        label, columns = (
            rf"$\lambda_H = {source.parameters['lambda_H']}$",
            source.record("staircase"),
        )
        laws[label], measured[label] = columns["law"], columns["measured"]
    plotting.staircase(axes[0, 0], laws)
    # a hundred markers would hide the steps
    for i, values in enumerate(measured.values()):
        index = np.arange(1, len(values) + 1)
        look = {
            "linestyle": "none",
            "marker": MARKERS[i],
            "color": COLOURS[i],
            "markerfacecolor": "white",
        }
        axes[0, 0].plot(index[3 * i :: 9], values[3 * i :: 9], **look)
    return drawn


_PATH = "tirer2023/central-path"
_TRACES = (
    ("measured", r"$\mathrm{Tr}\,\Sigma_W / \mathrm{Tr}\,\Sigma_B$"),
    ("within", r"$e^{2\lambda_H t}\,\mathrm{Tr}\,\Sigma_W$"),
    ("between", r"$e^{2\lambda_H t}\,\mathrm{Tr}\,\Sigma_B$"),
)


def _path_label(case: Case) -> str:
    if case.options.get("path") == "gradient":
        return "the same, ordinary flow"
    return (
        rf"$\lambda_W = {case.parameters['lambda_W']:g},\ \lambda_H = "
        rf"{case.parameters['lambda_H']:g}$"
    )


@figure("tirer2023/central-path", Need(_PATH, PATHS, ("NC1",)))
def central_path(data: Data) -> Figure:
    """On the central path NC1 and the rescaled within-class scatter fall, and the rescaled
    between-class scatter grows.

    NC1 is the ratio of the traces of the within-class and the between-class covariance, Σ_W and
    Σ_B. The panels have scales of their own, that of the middle one is linear.
    """
    drawn, axes = canvas(1, 3, height=2.1, sharex=True)
    records = {_path_label(case): data.one(_PATH, case).record("NC1") for case in PATHS}
    handles = [], []
    for ax, (name, title) in zip(axes[0], _TRACES, strict=True):
        curves = {label: (r["t"], r[name]) for label, r in records.items()}
        # the within-class scatter keeps its order of magnitude
        plotting.trajectory(ax, curves, log_y=name != "within", xlabel="time $t$")
        for i, line in enumerate(ax.lines):
            line.set(markersize=3, markevery=(5 * i, 20))
        ax.set_title(title)
        handles = ax.get_legend_handles_labels()
        ax.get_legend().remove()
    letter(axes)
    drawn.legend(*handles, loc="outside lower center", ncols=4, columnspacing=1.0)
    return drawn


_SWEEP = "tirer2023/hyperparameters"
_SYMBOLS = {"lambda_H": r"$\lambda_H$", "lambda_W": r"$\lambda_W$"}
_EFFECTS = {
    "in span": "noise in the span of the means",
    "off span": "noise off the span",
    "stretch": "a mean stretched",
    "cross-talk": "cross-talk",
}


@figure("tirer2023/hyperparameters", Need(_SWEEP, SWEEPS, ("attenuation",)))
def hyperparameters(data: Data) -> Figure:
    """What λ_H and λ_W take off a change of the anchor, and what cross-talk they leave, up to the
    end of collapse: laws as lines, measured as markers; β = 10."""
    drawn, axes = canvas(1, 2, height=2.5, sharey=True)
    keys: dict = {}
    for ax, case in zip(axes[0], SWEEPS, strict=True):
        source, name = data.one(_SWEEP, case), case.options["vary"]
        columns = source.record("attenuation")
        for i, (effect, label) in enumerate(_EFFECTS.items()):
            law = columns[f"law: {effect}"]
            (line,) = ax.plot(columns[name], law, color=COLOURS[i], linestyle=DASHES[i])
            look = {
                "linestyle": "none",
                "marker": MARKERS[i],
                "color": COLOURS[i],
                "markerfacecolor": "white",
            }
            (marks,) = ax.plot(columns[name], columns[effect], **look)
            keys[label] = (line, marks)
        other = {"lambda_H": "lambda_W", "lambda_W": "lambda_H"}[name]
        ax.set_title(rf"$\{other} = {source.parameters[other]:.3g}$")
        ax.set(xscale="log", yscale="log", xlabel=_SYMBOLS[name])
        end = ax.axvline(1 / source.parameters[other], **REFERENCE)
        keys[r"$\lambda_W\lambda_H = 1$"] = end
    axes[0, 0].set_ylabel("attenuation, cross-talk")
    letter(axes)
    drawn.legend(keys.values(), keys.keys(), loc="outside lower center", ncols=3)
    return drawn
