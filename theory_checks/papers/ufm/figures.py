"""Certificate gaps along five methods."""

from __future__ import annotations

import numpy as np

from theory_checks.engine.figures.data import Data, Need
from theory_checks.engine.figures.registry import figure
from theory_checks.engine.figures.style import (
    COLOURS,
    DASHES,
    EPS,
    MARKERS,
    REFERENCE,
    Figure,
    canvas,
    letter,
)
from theory_checks.papers.ufm.convergence import FIVE_METHODS

_GAPS = "ufm/certificate-along-the-way"
_METHODS = (*FIVE_METHODS.options["step sizes"], *FIVE_METHODS.options["second order"])


@figure(
    "ours/certificate-gap",
    Need(_GAPS, (FIVE_METHODS,), tuple(f"gap of {name}" for name in _METHODS)),
)
def certificate_gap(data: Data) -> Figure:
    """Certified relative gap to the global optimum along five methods from one start, by steps and
    by gradients and Hessian products, for ten classes of 100 samples, cross-entropy, a free bias, d
    = 16, λ_W = 5e-4, λ_H = 5e-6.

    The gap is that of ufm.certify, (value − lower bound) / value, at each point; no optimum is
    known to it.
    """
    drawn, axes = canvas(1, 2, height=2.5, sharey=True)
    source = data.one(_GAPS, FIVE_METHODS)
    for ax, (name, label) in zip(
        axes[0],
        (("step", "steps"), ("products", "gradients and Hessian-vector products")),
        strict=True,
    ):
        for i, method in enumerate(_METHODS):
            columns = source.record(f"gap of {method}")
            # a logarithm has no place for step 0, and a gap that is rounding has no sign
            ax.plot(
                columns[name][1:],
                np.maximum(columns["gap"][1:], EPS / 10),
                color=COLOURS[i],
                linestyle=DASHES[i],
                marker=MARKERS[i],
                markevery=max(1, len(columns[name]) // 8),
                label=method,
            )
        ax.axhline(EPS, label="machine precision", **REFERENCE)
        ax.set(xscale="log", yscale="log", xlabel=label)
    axes[0, 0].set_ylabel("certified relative gap")
    letter(axes)
    drawn.legend(
        *axes[0, 0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=3,
    )
    return drawn
