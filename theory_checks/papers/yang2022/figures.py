"""Three frames of one value under dot regression, and of three under cross-entropy."""

from __future__ import annotations

import numpy as np

from theory_checks.engine.figures.data import Data, Need
from theory_checks.engine.figures.registry import figure
from theory_checks.engine.figures.style import (
    COLOURS,
    EPS,
    MARKERS,
    REFERENCE,
    TEXT,
    Figure,
    canvas,
    letter,
)
from theory_checks.papers.yang2022.checks import TIES

_CHECK = "yang2022/learned"
_SHAPES = ("simplex ETF", "orthogonal frame", "rank one")
# found is of one colour in both panels
_COLOURS = (0, 4, 6, 1)
_NAMES = ("λ=0.02", "λ=0.1", "threshold", "λ=0.5", "cross-entropy")


@figure("yang2022/ties", Need(_CHECK, TIES, ("ties",)))
def ties(data: Data) -> Figure:
    """Dot regression with a learned classifier: the least value over λ, as it is predicted, found
    from random starts in four dimensions and in one, and certified; and by how much three shapes of
    logits with the same diagonal, and what is found, exceed the certified lower bound.

    The shapes tie to rounding for every decay under dot regression, and do not under cross-entropy.
    """
    drawn, axes = canvas(1, 2, width=TEXT, height=2.5)
    left, right = axes[0]
    records = [data.one(_CHECK, case).record("ties") for case in TIES]
    # four classes, wanted logit 2: Kλ c − (Kλ)² c/2 up to λ = 1/K
    lam = np.geomspace(0.007, 0.8, 200)
    load = np.minimum(4 * lam, 1)
    left.semilogx(lam, 2 * load - load**2, color=COLOURS[0], label="predicted")
    for name, at, style in (
        ("found", "found", {"marker": "o", "color": COLOURS[1], "markersize": 5}),
        ("found, $d = 1$", "thin", {"marker": "x", "color": COLOURS[3], "markersize": 4}),
        ("certificate", "lower", {"marker": "_", "color": COLOURS[2], "markersize": 11}),
    ):
        values = [float(record[at][0]) for record in records[:4]]
        left.plot((0.02, 0.1, 0.25, 0.5), values, linestyle="none", label=name, **style)
    left.axvline(0.25, **REFERENCE)
    left.set_xticks([0.02, 0.1, 0.25, 0.5], ["0.02", "0.1", "1/4", "0.5"])
    left.set_xticks([], minor=True)
    left.set(xlabel="λ", ylabel="least value", ylim=(0, 1.12), xlim=(0.006, 0.9))
    left.legend(loc="upper left", fontsize=6)
    places = np.arange(len(records))
    for i, shape in enumerate((*_SHAPES, "found")):
        found = [(r["values"][i] if i < 3 else r["found"][0]) / r["lower"][0] - 1 for r in records]
        style = {"color": COLOURS[_COLOURS[i]], "marker": MARKERS[3 - i], "linestyle": "none"}
        shown = np.maximum(np.array(found, dtype=float), EPS / 2)
        right.semilogy(places + 0.17 * (i - 1.5), shown, label=shape, markersize=4, **style)
    right.axhline(EPS, **REFERENCE)
    right.set_xticks(places, _NAMES, rotation=25, ha="right", fontsize=6)
    right.set(ylabel="above the certificate, relative", ylim=(2e-17, 30))
    right.legend(loc="upper left", fontsize=6)
    letter(axes)
    return drawn
