"""Dang et al. 2023: neural collapse along the direct optimisation of their script, and the three
frames in space."""

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
    plotting,
)
from theory_checks.papers.dang2023.balanced import ORTHOGONAL_IN_SPACE, SIMPLEX_IN_SPACE
from theory_checks.papers.dang2023.imbalanced import GENERAL_IN_SPACE
from theory_checks.papers.dang2023.protocol import BALANCED, IMBALANCED, WITH_BIAS

_SCRIPT, _CURVES = "dang2023/direct-optimisation", "neural collapse along the script"
_ROWS = (
    ("balanced, no bias:\northogonal frame", BALANCED),
    ("balanced, free bias:\nsimplex ETF", WITH_BIAS),
    ("200/100/50/50, no bias:\ngeneral orth. frame", IMBALANCED),
)
_METRICS = (
    ("NC1", r"NC1, $\mathrm{Tr}\,\Sigma_W\Sigma_B^+/K$"),
    ("NC2 W", r"NC2, $W W^\top$"),
    ("NC2 H", r"NC2, $\bar H^\top\bar H$"),
    ("NC3", r"NC3, $W\bar H$"),
)


@figure("dang2023/nc-curves", Need(_SCRIPT, (*BALANCED, *WITH_BIAS, *IMBALANCED), (_CURVES,)))
def nc_curves(data: Data) -> Figure:
    """NC1, NC2 and NC3 along their script (momentum 0.9, step 0.1, K = 4, N = 400, widths 64, λ =
    5e-4) for M linear layers.

    NC1 is Tr(Σ_W Σ_B⁺) / K, with the pseudo-inverse of the between-class covariance. NC2, of W Wᵀ
    and of H̄ᵀ H̄, and NC3, of W H̄, are distances in the Frobenius norm of the matrices over their
    norms to those of the closed form.
    """
    drawn, axes = canvas(len(_ROWS), len(_METRICS), height=4.0, sharex=True, sharey=True)
    for row, (title, cases) in zip(axes, _ROWS, strict=True):
        for ax, (metric, _) in zip(row, _METRICS, strict=True):
            for i, case in enumerate(cases):
                columns = data.one(_SCRIPT, case).record(_CURVES)
                ax.plot(
                    columns["step"] / 1000,
                    columns[metric],
                    color=COLOURS[i],
                    linestyle=DASHES[i],
                    marker=MARKERS[i],
                    markevery=(4 * i, 16),
                    markersize=3,
                    label=f"$M = {len(case.parameters['widths'])}$",
                )
            ax.axhline(EPS, label="machine precision", **REFERENCE)
            ax.set_yscale("log")
        row[0].set_ylabel(title)
    # what is smaller than a rounding error says nothing
    axes[0, 0].set(ylim=(1e-18, 30), yticks=10.0 ** np.arange(-16, 1, 4), xticks=(0, 10, 20, 30))
    for (_, label), top, bottom in zip(_METRICS, axes[0], axes[-1], strict=True):
        top.set_title(label)
        bottom.set_xlabel("step / 1000")
    drawn.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
    return drawn


_SPACE = ("class means in space", "rows of the classifier in space")
_FRAMES = (
    ("orthogonal frame\n10/10/10, no bias", "dang2023/mse-balanced", ORTHOGONAL_IN_SPACE),
    ("simplex ETF\n10/10/10/10, free bias", "dang2023/mse-balanced-bias", SIMPLEX_IN_SPACE),
    ("general orthogonal frame\n20/8/3, no bias", "dang2023/mse-imbalanced", GENERAL_IN_SPACE),
)


@figure("dang2023/frames", *(Need(check, (case,), _SPACE) for _, check, case in _FRAMES))
def frames(data: Data) -> Figure:
    """Class means and rows of the classifier at the measured minimum, d = 3, up to a rotation, each
    in units of its longest vector."""
    drawn, axes = canvas(1, 3, height=2.2, subplot_kw={"projection": "3d"})
    labels = {_SPACE[0]: r"class means $\bar h_k$", _SPACE[1]: "classifier $w_k$"}
    handles = [], []
    for ax, (title, check, case) in zip(axes[0], _FRAMES, strict=True):
        source = data.one(check, case)
        plotting.vectors(
            ax,
            # in the order, and so with the markers, of the notebooks
            {
                labels[name]: np.array([source.record(name)[x] for x in "xyz"])
                for name in reversed(_SPACE)
            },
        )
        ax.set_title(title, pad=14)
        for line in ax.lines:
            line.set(markersize=0.6 * line.get_markersize(), linewidth=0.6 * line.get_linewidth())
        for text in ax.texts:
            text.set_fontsize(7)
        handles = ax.get_legend_handles_labels()
        ax.get_legend().remove()
    drawn.legend(*handles, loc="outside lower center", ncols=2)
    return drawn
