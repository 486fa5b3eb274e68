"""How long features become, and what self-distillation leaves of logits and singular values."""

from __future__ import annotations

import numpy as np

from theory_checks.engine.figures.data import Data, Need
from theory_checks.engine.figures.registry import figure
from theory_checks.engine.figures.style import (
    COLOURS,
    DASHES,
    MARKERS,
    REFERENCE,
    TEXT,
    Figure,
    canvas,
    letter,
)
from theory_checks.papers.wang2023.features import LENGTHS
from theory_checks.papers.wang2023.formulas import Fixed
from theory_checks.papers.wang2023.generations import CROSS_ENTROPY, SQUARED_ERROR

_LENGTH, _ENTROPY = "wang2023/norm-and-direction", "wang2023/generations-cross-entropy"
_SQUARES = "wang2023/generations-squared-error"
_TAU = 1.5


@figure(
    "wang2023/lengths-and-generations",
    Need(_LENGTH, LENGTHS[:5], ("length",)),
    Need(_ENTROPY, CROSS_ENTROPY[:1], ("generations",)),
    Need(_SQUARES, SQUARED_ERROR[:1], ("generations",)),
)
def lengths_and_generations(data: Data) -> Figure:
    """Length of the features under a loss of norm and direction, pinned at the teacher's length
    for an interval of decays; size of the logits from generation to generation of
    self-distillation under cross-entropy, zero from the fourth on; and the singular values under
    squared error, where classes of 9, 4, 2 and 1 samples die one by one.

    Lines are predictions, marks what minimisers end at from random starts. Two ticks on a length,
    here one on the other, are as far from it as the certificate lets the optimum be; of generations
    the largest relative gap is given.
    """
    drawn, axes = canvas(1, 3, width=TEXT, height=2.3)
    left, middle, right = axes[0]
    decay = np.geomspace(0.012, 2.2, 300)
    law = [Fixed(4, 2.0, float(mu), 1.0, _TAU).length() for mu in decay]
    left.semilogx(decay, law, color=COLOURS[0], label="predicted")
    for i, case in enumerate(LENGTHS[:5]):
        source = data.one(_LENGTH, case)
        record, mu = source.record("length"), float(source.parameters["mu"])
        found, reach = float(record["found"][0]), float(record["reach"][0])
        style = {"color": COLOURS[1], "markersize": 4, "linestyle": "none"}
        left.plot(mu, found, "o", label=None if i else "found", **style)
        style |= {"color": COLOURS[2], "markersize": 10}
        ends = [found - reach, found + reach]
        left.plot([mu, mu], ends, marker="_", label=None if i else "certified", **style)
    left.axhline(_TAU, **REFERENCE)
    left.set(xlabel="decay μ", ylabel=r"length $\|h\|$")
    left.legend(loc="upper right", fontsize=6)

    def certified(record) -> str:
        """The power of ten above all gaps."""
        return f"gaps below {10.0 ** np.ceil(np.log10(record['gap'].max())):.0e}"

    record = data.one(_ENTROPY, CROSS_ENTROPY[0]).record("generations")
    middle.plot(record["g"], record["law"], color=COLOURS[0], label="predicted")
    label = f"found, {certified(record)}"
    style = {"color": COLOURS[1], "markersize": 4, "linestyle": "none"}
    middle.plot(record["g"], record["measured"], "o", label=label, **style)
    middle.set(xlabel="generation $g$", ylabel="size of the logits $a_g$", ylim=(-0.15, 3.2))
    middle.set_xticks(range(1, 6))
    middle.legend(loc="upper right", fontsize=6)

    record = data.one(_SQUARES, SQUARED_ERROR[0]).record("generations")
    for k, count in enumerate((9, 4, 2, 1)):
        style = {"color": COLOURS[k], "linestyle": DASHES[k]}
        right.plot(record["g"], record[f"law {k}"], **style)
        style = {"color": COLOURS[k], "marker": MARKERS[k], "linestyle": "none", "markersize": 4}
        right.plot(record["g"], record[f"measured {k}"], label=f"$n_k = {count}$", **style)
    right.plot([], [], " ", label=certified(record))
    right.set(xlabel="generation $g$", ylabel=r"singular values of $WH$", ylim=(-0.2, 4.3))
    right.set_xticks([1, 3, 5, 7])
    right.legend(loc="upper right", fontsize=6)
    letter(axes)
    return drawn
