"""Which of several ways to do the same is the fastest, found out by doing it."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeVar

Way = TypeVar("Way")

_CHOSEN: dict[Hashable, Any] = {}


def fastest(ways: Sequence[Way], run: Callable[[Way], object], *, kind: Hashable) -> Way:
    """The way whose `run(way)` takes least time; each runs twice, the first time to compile.

    Where there is one way nothing runs. `kind`: what the times depend on; a choice is made once for
    each.
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
