"""Coherence of what is found against the bounds, over N and d."""

from __future__ import annotations

import numpy as np

from theory_checks.engine.figures.data import Data, Need
from theory_checks.engine.figures.registry import figure
from theory_checks.engine.figures.style import COLOURS, DASHES, MARKERS, Figure, canvas, letter
from theory_checks.papers.shen2023.checks import CURVES

_CHECK = "shen2023/coherence"


@figure("shen2023/coherence", Need(_CHECK, CURVES, ("coherence over N",)))
def coherence(data: Data) -> Figure:
    """Least coherence that a search of sixty steps a stage finds for N vectors in d dimensions,
    above the bounds of Welch and Levenshtein; the latter begins beyond d(d + 1)/2 vectors, where no
    equiangular lines are a tight frame."""
    sources = data.of(_CHECK)
    drawn, axes = canvas(1, len(sources), height=2.3, sharey=True)
    for ax, source in zip(axes[0], sources, strict=True):
        record = source.record("coherence over N")
        N, speaks = record["N"], record["Levenshtein"] > 0
        ax.plot(N, record["Welch"], color=COLOURS[1], linestyle=DASHES[1], label="Welch")
        ax.plot(
            N[speaks],
            record["Levenshtein"][speaks],
            color=COLOURS[2],
            linestyle=DASHES[2],
            label="Levenshtein",
        )
        ax.plot(
            N, record["coherence"], MARKERS[0], color=COLOURS[0], linestyle="none", label="found"
        )
        ax.set(xlabel="N, vectors", title=f"$d = {source.parameters['d']:g}$")
        ax.set_ylim(bottom=0)
        ax.set_xlim(np.min(N) - 1, np.max(N) + 1)
    axes[0, 0].set_ylabel(r"$\max_{j\neq k}\,|w_j\cdot w_k|$")
    axes[0, -1].legend(loc="lower right")
    letter(axes)
    return drawn
