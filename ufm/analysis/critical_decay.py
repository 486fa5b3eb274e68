r"""Strengths of decay at which the optimum changes.

By formula where there is one, by bisection of certified ranks where there is none.

Along one axis, $s = N(\lambda_M\cdots\lambda_1\lambda_H)^{1/(M+1)}$, everything else held. For one
layer and a convex loss the optimal product depends on $s = N\sqrt{\lambda_W\lambda_H}$ alone.
`certified_ranks.py` has the ranks.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from ufm._classes.module import Displayed
from ufm._programs.outside import SWEEP, on_the_host
from ufm._system.progress import Progress
from ufm._validate import require, require_each, require_flag
from ufm.analysis.certified_ranks import Line, Probe
from ufm.model import Problem
from ufm.optima.facts import Facts
from ufm.optima.statement import Threshold
from ufm.optima.survey import formula_thresholds, of_width, with_ranks
from ufm.optima.words import listed
from ufm.tolerances import caveat

# Feature lengths go like roots of singular values.
_VANISHED = 3e-5
# Brackets beside a bracket, where lengths of features are looked at.
_FARTHER = 10
# Probes a doubling of the decay, and how far down from the largest threshold they go, unless the
# rank is full before.
_PER_DOUBLING, _DECADES = 3, 3
# Doublings of the decay after which a certificate that never closes is no certificate.
_MOST_DOUBLINGS = 60
# How near a threshold with a formula its ranks are probed.
_BESIDE = 1e-3


@dataclass(frozen=True, kw_only=True)
class Thresholds(Displayed):
    r"""Strengths of decay at which the optimum of a problem changes, in ascending order.

    `strength`: $s = N(\lambda_M\cdots\lambda_1\lambda_H)^{1/(M+1)}$ of the problem as it is.
    `entries`: a `Threshold` each. `complete`: whether a theorem says that the optimum has no
    others. `note`: where they come from, and what is not known.
    """

    strength: float
    entries: tuple[Threshold, ...]
    complete: bool
    note: str

    @property
    def of_optimum(self) -> tuple[Threshold, ...]:
        """Those of the global optimum, without those of other stationary points."""
        return tuple(entry for entry in self.entries if entry.of_optimum)

    def factor(self, entry: Threshold) -> float:
        """What every λ of the problem would have to be multiplied by to be there.

        Infinite for a problem without decay.
        """
        return entry.strength / self.strength if self.strength > 0 else float("inf")

    def __str__(self) -> str:
        lines = [f"N Λ = {self.strength:g}; {self.note}"]
        for entry in self.entries:
            rank = "" if entry.rank is None else f", rank {entry.rank}"
            bracket = (
                ""
                if entry.bracket is None
                else f" in [{entry.bracket[0]:.9g}, {entry.bracket[1]:.9g}]"
            )
            kind = "" if entry.of_optimum else " (not of the optimum)"
            change = f"{entry.change}{rank}{kind}"
            lines.append(
                f"{entry.strength:.12g}{bracket} (× {self.factor(entry):.6g}): {change}; "
                f"{entry.source}"
            )
        return "\n".join(lines)


@on_the_host(SWEEP)
def thresholds(problem: Problem, *, rtol: float = 1e-6, progress: bool | None = None) -> Thresholds:
    r"""All strengths of decay at which the optimum changes its rank or its regime, with λ_b and
    everything but λ held.

    Where formulas cover the problem (squared error; cross-entropy of balanced classes, of two
    clusters without a bias, of mixtures, with nonnegative features; focal loss of balanced classes)
    they are all there is. Elsewhere, for one layer and a loss with certificates, the rank of the
    certified optimum is probed along the axis and bisected wherever it changes.

    Parameters
    ----------
    problem
        any problem; its own λ only say where on the axis it is
    rtol
        relative width of a bracket, in [1e-7, 0.1]
    progress
        as for `minimise`

    Returns
    -------
    `Thresholds`: `entries` by strength, `complete`, `note`; it prints as a table. Without formula
    and certificate it has no entries.

    Raises
    ------
    ValueError
        for an `rtol` out of range

    Notes
    -----
    The bisection brackets changes between probes whose ranks differ, a third of a doubling apart;
    two changes that undo each other between two probes would be missed. A problem of width d has
    the optimum of the convex problem where that has a rank of at most d, and another one, of rank
    d, at weaker decay: there it may change where nothing is listed, and `note` says so.
    """
    require_each(
        "rtol", rtol, lambda rtol: (rtol >= 1e-7) & (rtol <= 0.1), "be in [1e-7, 0.1]", shape=()
    )
    require_flag("progress", progress, optional=True)
    facts = Facts.of(problem)
    formulas, room = formula_thresholds(facts)
    d = min(facts.widths)
    complete = room is not None and d >= room
    found, note = formulas, f"{'every threshold' if complete else 'thresholds'} by formula"
    if room is None:
        try:
            line = Line(problem, facts)
        except ValueError as reason:
            note = f"formulas alone: {reason}"
        else:
            found, note = _probed(line, formulas, rtol, progress)
    entries = of_width(found, facts)
    beyond = [t.strength for t in found if t.of_optimum and (t.rank or 0) + (t.drop or 0) > d]
    if beyond or d < (room or 0):
        where = f"below N Λ = {max(beyond):.6g}" if beyond else "at weaker decay"
        note += f"; {where} the convex optimum has no room in d = {d}, and others are not known"
    note += caveat(problem.dtype)
    return Thresholds(strength=facts.strength, entries=entries, complete=complete, note=note)


def _probed(line: Line, formulas, rtol: float, progress) -> tuple[tuple[Threshold, ...], str]:
    """All thresholds of the optimum between the largest and full rank."""
    line.bar = Progress("thresholds", total=0, show=progress)
    try:
        probes = _scan(line, [t for t in formulas if t.of_optimum])
        found = [t for t in formulas if not t.of_optimum]
        for low, high in itertools.pairwise(probes):
            inside = [
                t for t in formulas if t.of_optimum and low.strength < t.strength < high.strength
            ]
            assert low.rank is not None
            assert high.rank is not None
            if inside and sum(t.drop or 0 for t in inside) == low.rank - high.rank:
                found += inside
                continue
            found += [_named(line, *bracket) for bracket in _brackets(line, low, high, rtol)]
    finally:
        line.bar.close()
    bottom, reached = probes[0].strength, probes[0].rank
    whole = (
        "" if reached == line.full_rank else f", where the rank is {reached} and may grow further"
    )
    note = (
        f"by bisection of certified ranks from N Λ = {bottom:.3g} up{whole}, and by formula "
        f"where no bracket is given"
    )
    return with_ranks(found), note


def _scan(line: Line, formulas: list[Threshold]) -> list[Probe]:
    """Decided probes from the least strength up to where the product is zero, ascending."""
    top = max((t.strength for t in formulas), default=line.natural) * (1 + _BESIDE)
    doublings = 0
    while line.probe(top).rank != 0:
        words = "`problem.loss` must have a conjugate whose bound closes where the product is zero"
        require(doublings < _MOST_DOUBLINGS, words, line.problem.loss)
        top, doublings = 2 * top, doublings + 1
    strengths = {top}
    for threshold in formulas:
        strengths |= {threshold.strength * (1 - _BESIDE), threshold.strength * (1 + _BESIDE)}
    lowest, step = top * 10.0**-_DECADES, 2 ** (-1 / _PER_DOUBLING)
    floor = min((t.strength for t in formulas), default=top) * (1 - _BESIDE)
    here = top * step
    while here > lowest:
        strengths.add(here)
        if here < floor and line.probe(here).rank == line.full_rank:
            break
        here *= step
    return [probe for s in sorted(strengths) if (probe := line.probe(s)).rank is not None]


def _brackets(line: Line, low: Probe, high: Probe, rtol: float) -> list[tuple[Probe, Probe]]:
    """Pairs of probes, as close as asked for, between which the rank changes."""
    if low.rank == high.rank:
        return []
    if high.strength <= low.strength * (1 + rtol):
        return [(low, high)]
    for share in (0.5, 0.4, 0.6, 0.25, 0.75):
        middle = line.probe(low.strength ** (1 - share) * high.strength**share)
        if middle.rank is not None:
            return [*_brackets(line, low, middle, rtol), *_brackets(line, middle, high, rtol)]
    return [(low, high)]


def _named(line: Line, low: Probe, high: Probe) -> Threshold:
    """The threshold between two probes, and what happens to the classes there."""
    assert low.rank is not None
    assert high.rank is not None
    # (one of width d has no more than that)
    rank = min(low.rank, *line.facts.widths)
    change = "zero product" if high.rank == 0 else f"rank {rank} falls to {high.rank}"
    # one column a class, so that columns have names
    if high.rank > 0 and line.facts.one_target_per_class and low.features.shape[1] == line.facts.K:
        scale = _VANISHED * np.sqrt(line.natural)
        # so near a threshold what vanishes there is nearly zero below, and not quite above
        ratio = (high.strength / low.strength) ** _FARTHER
        beside = line.probe(low.strength / ratio), line.probe(high.strength * ratio)
        lengths = [
            np.linalg.norm((there if there.rank == near.rank else near).features, axis=0)
            for there, near in zip(beside, (low, high), strict=True)
        ]
        gone = np.flatnonzero((lengths[1] < scale) & (lengths[0] >= scale))
        if len(gone):
            change += f", features of {listed(gone)} vanish"
    return Threshold(
        strength=float(np.sqrt(low.strength * high.strength)),
        change=change,
        source="bisection of certified ranks",
        drop=low.rank - high.rank,
        rank=high.rank,
        bracket=(low.strength, high.strength),
    )
