"""Fisher, Meng & Papyan 2024: channels of mixed points, what squared error and manifold mixup make
of them, amplification, calibration."""

from __future__ import annotations

import numpy as np

from theory_checks.engine.figures.data import Data, Need, Source
from theory_checks.engine.figures.registry import figure
from theory_checks.engine.figures.style import (
    COLOURS,
    DASHES,
    MARKERS,
    REFERENCE,
    TEXT,
    Axes,
    Figure,
    canvas,
    letter,
    plotting,
)
from theory_checks.papers.fisher2024.calibration import DECAYS
from theory_checks.papers.fisher2024.fixed import STRENGTHS
from theory_checks.papers.fisher2024.joint import LEARNED, SQUARED
from theory_checks.papers.fisher2024.limits import DECADES
from theory_checks.papers.fisher2024.manifold import TIED

_FIXED, _LEARNED = "fisher2024/different-class", "fisher2024/etf-is-learned"
_LABELS = dict(zip(STRENGTHS, (r"$\mu = 0.3$", r"$\mu = 0.01$", r"$\mu = 10^{-4}$"), strict=True))
# every so many points of a pair are drawn, so that the line of theory is seen between them
_THIN = 4
_OTHERS = (
    ("learned classifier, $\\mu = 0.05$", _LEARNED, LEARNED),
    ("squared error", "fisher2024/squared-error-is-convex", SQUARED),
    ("manifold mixup, $\\mu = 0.05$", "fisher2024/manifold-mixup", TIED),
)
_PLANE = ("mixed points", "classifiers in the plane")
_THEORY = "theory of a channel"
_PAIRS = ((0, 1), (0, 2), (1, 2))


@figure(
    "fisher2024/channels",
    Need(_FIXED, STRENGTHS, (*_PLANE, _THEORY)),
    *(
        Need(check, (case,), (*_PLANE, _THEORY) if check == _LEARNED else _PLANE)
        for _, check, case in _OTHERS
    ),
)
def channels(data: Data) -> Figure:
    """Features of mixed points in the plane of three classes, λ uniform: measured points on the
    lines of theory.

    Top: cross-entropy with a fixed simplex ETF. Bottom: with a classifier that is learned too;
    squared error; manifold mixup. Stars are the classifiers, scaled to half the reach of the
    points.
    """
    drawn, axes = canvas(2, 3, width=TEXT, height=4.0)
    # (the labels of axes of equal units reach beyond the room that the layout keeps for them)
    drawn.set_layout_engine("constrained", w_pad=0.08)
    panels = [(f"fixed ETF, {title}", _FIXED, case) for case, title in _LABELS.items()] + list(
        _OTHERS
    )
    handles = [], []
    for ax, (title, check, case) in zip(np.ravel(axes), panels, strict=True):
        source = data.one(check, case)
        _plane(ax, source)
        ax.set_title(title)
        handles = ax.get_legend_handles_labels()
        if ax.get_legend() is not None:
            ax.get_legend().remove()
    letter(axes)
    drawn.legend(*handles, loc="outside lower center", ncols=4)
    return drawn


def _plane(ax: Axes, source: Source) -> None:
    """One panel: points, theory from class to class, classifiers."""
    points, corners = (source.record(name) for name in _PLANE)
    same = points["same"] > 0.5
    measured = np.array([points["x1"], points["x2"]])
    rays = np.array([corners["x1"], corners["x2"]])
    reach = np.max(np.linalg.norm(measured, axis=0)) / np.max(np.linalg.norm(rays, axis=0))
    low, high = (
        np.minimum(points["first"], points["second"]),
        np.maximum(points["first"], points["second"]),
    )
    lines, shown = [], same.copy()
    for i, j in _PAIRS:
        pair = np.flatnonzero(~same & (low == i) & (high == j))
        share = np.where(points["first"][pair] == i, points["lam"][pair], 1 - points["lam"][pair])
        pair = pair[np.argsort(share)]
        shown[pair[_THIN // 2 :: _THIN]] = True
        if source.has(_THEORY):
            line = source.record(_THEORY)
            lines.append(np.array([line[f"{x}_{i + 1}{j + 1}"] for x in ("x1", "x2")]))
        else:
            lines.append(np.array([points["theory_x1"][pair], points["theory_x2"][pair]]))
        lines.append(np.full((2, 1), np.nan))
    plotting.three_class_scatter(
        ax,
        measured[:, shown],
        lam=points["lam"][shown],
        same=same[shown],
        classifier=0.5 * reach * rays,
        curves={"theory": np.concatenate(lines, axis=1)},
    )
    for collection in ax.collections:
        collection.set(sizes=0.6 * collection.properties()["sizes"])
    for line in ax.lines:
        if line.get_label() == "theory":
            line.set(color=COLOURS[4], linewidth=1.4, alpha=1)
        else:
            line.set(linewidth=0.8, markersize=5)


_DECADES = "fisher2024/small-decay"


@figure(
    "fisher2024/amplification",
    Need(_FIXED, STRENGTHS, ("mixed points", _THEORY)),
    Need(_DECADES, (DECADES,), ("decades of s",)),
)
def amplification(data: Data) -> Figure:
    """Width of a channel against logit λ, its depth in units of the gap ξ of one class, both over
    decades of decay: lines are theory.

    A convex combination of class features would have a depth of ξ.
    """
    drawn, axes = canvas(1, 3, width=TEXT, height=2.3)
    ends = np.zeros(2)
    for i, (case, label) in enumerate(_LABELS.items()):
        source = data.one(_FIXED, case)
        columns, law = source.record("mixed points"), source.record(_THEORY)
        pair = (columns["same"] < 0.5) & (columns["first"] == 0) & (columns["second"] == 1)
        lam, width, depth = (columns[name][pair] for name in ("lam", "width", "depth"))
        logit = np.log(lam) - np.log1p(-lam)
        ends = np.array([logit.min(), logit.max()])
        # a mixture within one class has its gap
        own = columns["depth"][columns["same"] > 0.5][0]
        near = np.abs(law["logit_lam"]) <= np.abs(logit).max()
        line = {"color": COLOURS[i], "linestyle": DASHES[i]}
        marks = {"color": COLOURS[i], "linestyle": "none", "marker": MARKERS[i], "markersize": 3}
        # one legend for both panels, below
        panels = (
            (axes[0, 0], None, width, law["width"]),
            (axes[0, 1], label, depth / own, law["depth"] / own),
        )
        for ax, name, measured, theory in panels:
            ax.plot(law["logit_lam"][near], theory[near], **line)
            ax.plot(logit[2 * i :: 6], measured[2 * i :: 6], label=name, **marks)
    axes[0, 0].plot(ends, ends, **REFERENCE, label=r"$\mathrm{logit}\,\lambda$")
    axes[0, 1].axhline(1, **REFERENCE)
    axes[0, 1].text(
        0, 0.98, "convex combination", ha="center", va="top", fontsize="small", color="0.3"
    )
    axes[0, 1].set_ylim(0.88, 1.8)
    axes[0, 0].set(xlabel=r"$\mathrm{logit}\,\lambda$", ylabel="$u_i - u_j$")
    axes[0, 1].set(xlabel=r"$\mathrm{logit}\,\lambda$", ylabel=r"$(u_i + u_j)\,/\,\xi$")
    decades = data.one(_DECADES, DECADES).record("decades of s")
    for i, (name, label) in enumerate(
        (("depth", r"$u_i + u_j$, $\lambda = 0.7$"), ("own_gap", r"$\xi$"))
    ):
        axes[0, 2].plot(
            decades["s"], decades[f"{name}_law"], color=COLOURS[3 + i], linestyle=DASHES[i]
        )
        look = {
            "color": COLOURS[3 + i],
            "linestyle": "none",
            "marker": MARKERS[3 + i],
            "markerfacecolor": "white",
        }
        axes[0, 2].plot(decades["s"], decades[name], label=label, **look)
    axes[0, 2].set(xscale="log", xlabel="$s = \\mu / a$", ylabel="gap of logits")
    axes[0, 0].legend(loc="upper left")
    # (room for the legend)
    axes[0, 2].set_ylim(top=45)
    axes[0, 2].legend(loc="upper right")
    letter(axes)
    drawn.legend(*axes[0, 1].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return drawn


_CALIBRATION = "fisher2024/calibration"
_MIXED = ("with mixup", "without mixup, interpolated")


@figure(
    "fisher2024/calibration",
    Need(
        _CALIBRATION,
        DECAYS,
        (*(f"reliability of mixed points, {name}" for name in _MIXED), "calibration"),
    ),
)
def calibration(data: Data) -> Figure:
    """Reliability of mixed points at μ = λ_W = 0.005 and calibration errors against the decay, K =
    3, with mixup and without."""
    drawn, axes = canvas(1, 2, width=TEXT, height=2.4)
    example = data.one(_CALIBRATION, DECAYS[1])
    curves = {}
    for name in _MIXED:
        columns = example.record(f"reliability of mixed points, {name}")
        filled = columns["mass"] > 0
        curves[name] = (columns["confidence"][filled], columns["accuracy"][filled])
    plotting.reliability(axes[0, 0], curves)
    # the larger of two shares is at least a half
    axes[0, 0].set(xlim=(0.45, 1.02), ylim=(0.45, 1.02))
    numbers = [data.one(_CALIBRATION, case).record("calibration") for case in DECAYS]
    series = (
        ("ece", "mixed points, with mixup"),
        ("ece_without", "mixed points, interpolated"),
        ("ece_clean", "clean points, with mixup"),
        ("ece_clean_without", "clean points, without"),
    )
    decay = [float(row["decay"][0]) for row in numbers]
    for i, (name, label) in enumerate(series):
        axes[0, 1].plot(
            decay,
            [float(row[name][0]) for row in numbers],
            color=COLOURS[i],
            linestyle=DASHES[i],
            marker=MARKERS[i],
            label=label,
        )
    axes[0, 1].set(
        xscale="log",
        yscale="log",
        xlabel=r"decay $\mu = \lambda_W$",
        ylabel="expected calibration error",
    )
    axes[0, 1].set_ylim(bottom=1e-5)
    axes[0, 1].legend(loc="lower right")
    letter(axes)
    return drawn
