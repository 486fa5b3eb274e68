"""Margins that chains of several depths reach, over the softmax code's, and what is left of the
smallest direction."""

from __future__ import annotations

from theory_checks.engine.figures.data import Data, Need
from theory_checks.engine.figures.registry import figure
from theory_checks.engine.figures.style import (
    COLOURS,
    DASHES,
    REFERENCE,
    TEXT,
    Figure,
    canvas,
    letter,
)
from theory_checks.papers.ours_depth.checks import DEPTHS, FLOW_CASES

_CHECK = "ours_depth/away-from-codes"
# what is drawn: its name in the records, its label, and whether it is over the softmax code's
_ROWS = (
    ("margin", r"margin $\rho$ / softmax code's", True),
    ("spread", r"$\sigma_d/\sigma_1$ of $Z$", False),
)


@figure("ours_depth/margins", Need(_CHECK, FLOW_CASES, tuple(f"M = {M}" for M in DEPTHS)))
def margins(data: Data) -> Figure:
    """Flows of linear chains of M matrices without decay, K classes in d dimensions: the
    one-vs-rest margin of the rows of the last matrix over that of the softmax code, and the
    smallest singular value of the logits over the largest; median and quartiles of 16 random
    starts."""
    sources = data.of(_CHECK)
    drawn, axes = canvas(
        len(_ROWS), len(sources), width=TEXT, height=3.6, sharex=True, sharey="row"
    )
    for column, source in zip(axes.T, sources, strict=True):
        for i, M in enumerate(DEPTHS):
            record = source.record(f"M = {M}")
            for ax, (name, _, over) in zip(column, _ROWS, strict=True):
                low, middle, high = (
                    record[f"{name} {word}"] / (record["code"] if over else 1)
                    for word in ("low", "median", "high")
                )
                ax.fill_between(record["t"], low, high, color=COLOURS[i], alpha=0.15, lw=0)
                ax.plot(
                    record["t"], middle, color=COLOURS[i], linestyle=DASHES[i], label=f"$M = {M}$"
                )
        column[0].axhline(1.0, **REFERENCE)
        column[0].set_title(f"$K = {source.parameters['K']}$, $d = {source.parameters['d']}$")
        column[-1].set(xscale="log", xlabel="$t$")
        for ax in column:
            ax.set_ylim(0, 1.05)
    for ax, (_, label, _) in zip(axes[:, 0], _ROWS, strict=True):
        ax.set_ylabel(label)
    letter(axes)
    drawn.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return drawn
