"""Regions of a phase diagram: intervals of its field, each in a colour of its own."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from numbers import Real

import numpy as np
from matplotlib import colormaps

from ufm._validate import Shown, require, require_instance

Regions = Mapping[str, tuple[float, float]]

# More whole numbers than this are a scale, not phases.
_MOST_PHASES = 7
# From dark to light, also in grey, and nowhere as grey as a cell that was not solved.
_COLOURS, _DARKEST = colormaps["viridis"], 0.1
# Between dark (0) and light (1) two phases are at least so far apart.
_TOLD_APART = 0.07


def checked_regions(regions: Regions) -> None:
    """`ValueError` unless these are intervals of which no two share more than an end."""
    require_instance("regions", regions, Mapping, "a mapping from labels to (least, largest)")
    require(len(regions) >= 1, "`regions` must hold a region", regions)
    for label, ends in regions.items():
        words = f"`regions[{label!r}]` must be two numbers, (least, largest)"
        pair = isinstance(ends, tuple | list | np.ndarray) and len(ends) == 2
        require(pair and all(isinstance(end, Real) for end in ends), words, Shown(ends))
        least, largest = ends
        require(least <= largest, f"{words}, least <= largest", ends)
    ordered = sorted(regions.items(), key=lambda item: item[1])
    for (one, (_, end)), (other, (start, _)) in itertools.pairwise(ordered):
        words = f"`regions` must not overlap, but {other!r} begins before {one!r} ends"
        require(end <= start, words, (start, end))


def membership(values: np.ndarray, regions: Regions) -> np.ndarray:
    """Which values (…) are in which region, (R, …); `ValueError` for one that is in two."""
    inside = np.stack([(values >= least) & (values <= top) for least, top in regions.values()])
    twice = np.unique(values[np.sum(inside, axis=0) > 1])
    words = "`regions` must not share a value that the field has"
    require(not len(twice), words, ", ".join(f"{value:g}" for value in twice))
    return inside


def whole_numbers(values: np.ndarray) -> Regions | None:
    """A region for each whole number, where there are no others and not many."""
    phases = np.unique(values)
    if not 1 <= len(phases) <= _MOST_PHASES or np.any(phases != np.rint(phases)):
        return None
    return {f"{phase:g}": (phase, phase) for phase in phases}


def colours_in_order(number: int) -> np.ndarray:
    """Colours (number, 4) from dark to light."""
    return _COLOURS(np.linspace(_DARKEST, 1, number))


def colours_of_whole(phases: np.ndarray, largest: int | None) -> np.ndarray:
    """Colours (n, 4) of whole numbers in ascending order (n,), whichever others there are.

    Parameters
    ----------
    phases
        The numbers.
    largest
        That the field can have, from 0 on, if that is known.

    Returns
    -------
    np.ndarray
        In RGBA. Shades go as the logarithm of the odds between 0 and the largest, so that the last
        ranks are as far from one another as the first; else as the logarithm up to the power of ten
        from 10 on above all of them. Only numbers whose shades are too alike are moved apart.
    """
    low, high = min(0, phases[0]), max(1, phases[-1])
    if largest is not None and largest >= high:
        odds = np.log((phases - low + 1) / (largest - phases + 1))
        shades = (1 + odds / np.log(largest - low + 1)) / 2
    else:
        top = 10 ** max(1, np.ceil(np.log10(high)))
        shades = np.log1p(phases - low) / np.log1p(top - low)
    apart = _TOLD_APART * np.arange(len(phases))
    shades = np.maximum.accumulate(shades - apart) + apart
    shades = np.minimum(shades, 1 - apart[::-1])
    return _COLOURS(_DARKEST + (1 - _DARKEST) * shades)
