"""The simplex of features in a ball and of the supervised contrastive loss, and where it ends."""

from __future__ import annotations

import numpy as np

from theory_checks.engine.figures.data import Data, Need
from theory_checks.engine.figures.registry import figure
from theory_checks.engine.figures.style import COLOURS, MARKERS, TEXT, Figure, canvas, letter
from theory_checks.papers.graf2021.checks import BALLS, classifier_norm
from theory_checks.papers.graf2021.contrastive import CONTRASTIVE

_BALL, _CONTRASTIVE = "graf2021/cross-entropy", "graf2021/supervised-contrastive"
_SHOWN = BALLS[:4]
_NAMES = ("$K=3$", r"$\tau=\frac{1}{2}$", "ball", "$K=d+1$", "4/3/2", "$K=d+2$")


@figure(
    "graf2021/simplex",
    Need(_BALL, _SHOWN, ("norm", "bound and found")),
    Need(_CONTRASTIVE, CONTRASTIVE, ("cosines", "bound and found")),
)
def simplex(data: Data) -> Figure:
    """Norm of the classifier with decay λ when features are held in a ball of radius ρ; cosines
    between classes under the supervised contrastive loss, of three equal classes, of counts 4/3/2
    and with too few dimensions; and the value found there, with its certificate, above the bound
    that the simplex attains.

    Lines are predictions, marks what minimisers end at from random starts, on the left certified to
    the gap that is given. With too few dimensions no certificate closes, and none is drawn.
    """
    drawn, axes = canvas(1, 3, width=TEXT, height=2.5)
    left, middle, right = axes[0]
    decay = np.geomspace(1e-6, 1, 200)
    gaps = []
    for i, case in enumerate(_SHOWN):
        rho = case.parameters["radius"]
        law = [classifier_norm(5, rho, float(lam)) for lam in decay]
        left.semilogx(decay, law, color=COLOURS[i], linewidth=0.8)
        place = (case.parameters["decay"], float(data.one(_BALL, case).record("norm")["found"][0]))
        left.plot(*place, MARKERS[i], color=COLOURS[i], markersize=4, label=rf"$\rho={rho:g}$")
        values = data.one(_BALL, case).record("bound and found")
        gaps.append(1 - float(values["certified"][0] / values["found"][0]))
    most = 10.0 ** np.ceil(np.log10(max(*gaps, 1e-15)))
    left.plot([], [], " ", label=f"gaps below {most:.0e}")
    left.set(xlabel=r"decay $\lambda$", ylabel=r"$\|W\|_F$", ylim=(-1, 42))
    left.legend(loc="upper right", fontsize=6)
    bounds = [data.one(_CONTRASTIVE, case).record("bound and found") for case in CONTRASTIVE]
    for i, case in enumerate(CONTRASTIVE):
        record, law = data.one(_CONTRASTIVE, case).record("cosines"), None if i else "predicted"
        middle.plot([i - 0.4, i + 0.4], 2 * [record["law"][0]], color=COLOURS[0], label=law)
        places = i + 0.25 * np.linspace(-1, 1, len(record["found"]))
        label = None if i else "found"
        middle.plot(places, record["found"], "o", color=COLOURS[1], markersize=3, label=label)
    middle.set(ylabel="cosine between classes", ylim=(-1.15, 0.4))
    middle.legend(loc="upper left", fontsize=6)
    right.axhline(0, color=COLOURS[0], label="the bound", zorder=1)
    for name, marker, size, colour in (
        ("found", "o", 4, COLOURS[1]),
        ("certified", "_", 14, COLOURS[2]),
    ):
        certified = range(len(bounds) - (name == "certified"))
        above = [100 * (float(bounds[i][name][0] / bounds[i]["claimed"][0]) - 1) for i in certified]
        right.plot(certified, above, marker, color=colour, markersize=size, label=name)
    right.set(ylabel="% above the bound")
    right.legend(loc="upper left", fontsize=6)
    for ax in (middle, right):
        ax.set_xticks(range(len(CONTRASTIVE)), _NAMES, rotation=50, fontsize=6)
    letter(axes)
    return drawn
