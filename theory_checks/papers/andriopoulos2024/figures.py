"""Regression with a free bias: axes of the targets that survive, and the decay that NRC3 knows."""

from __future__ import annotations

import numpy as np

from theory_checks.engine.figures.data import Data, Need
from theory_checks.engine.figures.registry import figure
from theory_checks.engine.figures.style import (
    COLOURS,
    DASHES,
    MARKERS,
    TEXT,
    Figure,
    canvas,
    letter,
)
from theory_checks.engine.registry import Setting
from theory_checks.papers.andriopoulos2024.checks import COLLAPSED, OPTIMA

_OPTIMUM, _COLLAPSE = "andriopoulos2024/optimum", "andriopoulos2024/collapse"
_SPECTRUM = (2.0, 1.0, 0.4)
_AXES = tuple(
    case
    for case in OPTIMA
    if case.parameters["widths"] == (4,)
    and case.parameters["eigenvalues"] == _SPECTRUM
    and case.setting is not Setting.OUTSIDE
)
_CURVES = (*COLLAPSED[:2], COLLAPSED[-1])


@figure(
    "andriopoulos2024/axes",
    Need(_OPTIMUM, _AXES, ("axes",)),
    Need(_COLLAPSE, _CURVES, ("NRC3",)),
)
def axes_that_survive(data: Data) -> Figure:
    """What is left of the principal axes of three targets, whose covariance has the eigenvalues 2,
    1 and 0.4, when λ_W λ_H = c; and how far the Gram of the classifier is from the root of the
    covariance less √γ, which vanishes at γ = c.

    Lines on the left and upright ones on the right are predictions, marks and curves what
    minimisers end at from random starts, certified to the gap that is given.
    """
    drawn, axes = canvas(1, 2, width=TEXT, height=2.4)
    left, right = axes[0]
    records = [data.one(_OPTIMUM, case).record("axes") for case in _AXES]
    decay = np.geomspace(0.03, 4, 300)
    most = max(float(record["gap"][0]) for record in records)
    for j, size in enumerate(_SPECTRUM):
        law = np.maximum(np.sqrt(size) - np.sqrt(decay), 0)
        left.semilogx(decay, law, color=COLOURS[j], linestyle=DASHES[j])
        found = [float(record["found"][j]) for record in records]
        style = {"color": COLOURS[j], "markersize": 4, "label": f"eigenvalue {size:g}"}
        left.plot([case.parameters["c"] for case in _AXES], found, MARKERS[j], **style)
    left.plot([], [], " ", label=f"gaps below {10.0 ** np.ceil(np.log10(most)):.0e}")
    left.set(xlabel=r"$c=\lambda_W\lambda_H$", ylabel="standard deviation left", ylim=(-0.05, 1.7))
    left.legend(loc="upper right", fontsize=6)
    for i, case in enumerate(_CURVES):
        record, c = data.one(_COLLAPSE, case).record("NRC3"), case.parameters["c"]
        signs = case.parameters.get("domain") is None
        label = f"$c={c:g}$" + ("" if signs else r", $h\geq 0$")
        shown = np.maximum(record["NRC3"], 1e-16)
        style = {"color": COLOURS[i], "linestyle": DASHES[i], "linewidth": 1}
        right.semilogy(record["gamma"], shown, label=label, **style)
        if signs:
            right.axvline(c, color=COLOURS[i], linewidth=0.6)
    right.set(xlabel=r"$\gamma$", ylabel=r"NRC3($\gamma$)", ylim=(1e-6, 100))
    right.legend(loc="upper center", fontsize=6)
    letter(axes)
    return drawn
