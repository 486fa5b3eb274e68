"""Which of several ways to do the same is the fastest, found out by doing it."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeVar

Way = TypeVar("Way")

_CHOSEN: dict[Hashable, Any] = {}


def fastest(ways: Sequence[Way], run: Callable[[Way], object], *, kind: Hashable) -> Way:
    """The way that takes least time.

    Parameters
    ----------
    ways
        One or more; where there is one nothing runs.
    run
        Does the work in a way, twice, the first time to compile.
    kind
        What the times depend on; a choice is made once for each.

    Returns
    -------
    Way
        One of `ways`.
    """
    if len(ways) == 1:
        return ways[0]
    if kind not in _CHOSEN:
        seconds = []
        for way in ways:
            run(way)
            began = time.perf_counter()
            run(way)
            seconds.append(time.perf_counter() - began)
        _CHOSEN[kind] = ways[seconds.index(min(seconds))]
    return _CHOSEN[kind]
