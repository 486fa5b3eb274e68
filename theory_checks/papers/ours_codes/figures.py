"""Where a sharp code is proved, over the inverse temperature."""

from __future__ import annotations

import numpy as np

from theory_checks.engine.figures.data import Data, Need
from theory_checks.engine.figures.registry import figure
from theory_checks.engine.figures.style import (
    COLOURS,
    DASHES,
    REFERENCE,
    Figure,
    canvas,
    letter,
)
from theory_checks.papers.ours_codes.checks import ICOSAHEDRON

_CHECK = "ours_codes/self-dual"


@figure("ours_codes/proved-range", Need(_CHECK, ICOSAHEDRON, ("loss and bound",)))
def proved_range(data: Data) -> Figure:
    """Loss of the icosahedron at inverse temperature beta, and what bounds it in every dimension;
    the condition of theorem A, which proves the code among W = H where it is at most 1 (shaded)."""
    records = [source.record("loss and bound") for source in data.of(_CHECK)]
    columns = {name: np.concatenate([r[name] for r in records]) for name in records[0]}
    order = np.argsort(columns["beta"])
    beta, loss, bound, condition = (
        columns[name][order] for name in ("beta", "loss", "bound", "condition")
    )
    drawn, axes = canvas(1, 2, height=2.4, sharex=True)
    left, right = axes[0]
    for i, (values, label) in enumerate(
        ((loss, "icosahedron"), (bound, "simplex, any dimension: the certificate"))
    ):
        left.plot(beta, values, color=COLOURS[i], linestyle=DASHES[i], label=label)
    right.plot(beta, condition, color=COLOURS[2], label="condition of theorem A")
    right.axhline(1.0, label="proved up to here", **REFERENCE)
    for ax in (left, right):
        proved = ax.get_xaxis_transform()
        ax.fill_between(
            beta, 0, 1, where=condition <= 1, transform=proved, color=COLOURS[2], alpha=0.15, lw=0
        )
        ax.set(xscale="log", yscale="log", xlabel=r"$\beta$")
    left.set_ylabel("loss")
    left.legend(loc="lower left")
    right.legend(loc="lower left")
    letter(axes)
    return drawn
