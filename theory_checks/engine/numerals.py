"""Numbers, arrays and parameters as a reader of the page wants them, and names for its parts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

_SHOWN_AS_NUMBERS = 6  # entries of an array


def anchor(*parts: str) -> str:
    """An id for a part of the page."""
    return "-".join(re.findall(r"[A-Za-z0-9]+", " ".join(parts))).lower()


def when(moment: str) -> str:
    """A moment to the minute, with its distance from universal time."""
    return f"{moment[:10]} {moment[11:16]} UTC{moment[19:]}".replace("-00:00", "").replace(
        "+00:00", ""
    )


def number(value: Any) -> str:
    """A measured or predicted number."""
    if value is None:
        return "not a number"
    # what is zero to rounding has no twelve digits worth reading
    return (f"{value:.2e}" if 0 < abs(value) < 1e-6 else f"{value:.12g}").replace("-", "−")


def short(value: float | None) -> str:
    """An error or a tolerance."""
    if not value:
        return "not a number" if value is None else "0"
    return f"{value:.1e}".replace("e-0", "e-").replace("-", "−")


def values(array: Any) -> str:
    """A measured or predicted array: its number, its few numbers, or its shape."""
    shape = np.shape(array)
    if shape == ():
        return number(array)
    if len(shape) == 1 and shape[0] <= _SHOWN_AS_NUMBERS:
        return (
            "("
            + ", ".join("nan" if x is None else f"{x:.4g}".replace("-", "−") for x in array)
            + ")"
        )
    return _shape(shape)


def _shape(shape: tuple[int, ...]) -> str:
    return f"array of {shape[0]}" if len(shape) == 1 else "array " + " × ".join(map(str, shape))


def parameters(of: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Names and values of a case's parameters, long lists by their ends."""
    return [(name, entry(value)) for name, value in of.items()]


def entry(value: Any) -> str:
    """One parameter."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, float):
        return f"{value:.6g}".replace("-", "−")
    if not isinstance(value, list):
        return str(value)
    shape = np.shape(value)
    if len(shape) > 1:
        return _shape(shape)
    items = [entry(item) for item in value]
    if len(items) > 4 and len(set(items)) == 1:
        return f"({items[0]}, …, {items[0]}), {len(items)} of them"
    if len(items) > 10:
        return f"({', '.join(items[:3])}, …, {items[-1]}), {len(items)} of them"
    return "(" + ", ".join(items) + ")"
