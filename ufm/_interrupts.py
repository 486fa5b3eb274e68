"""Ctrl-C where it must not strike between two statements."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def interrupts_later() -> Iterator[list]:
    """Answer Ctrl-C at the end of what is done inside, as it would have been answered at once.

    Yields
    ------
    list
        Empty until Ctrl-C comes. Always empty outside the main thread, which alone is told.
    """
    came: list = []
    if threading.current_thread() is not threading.main_thread():
        yield came
        return
    before = signal.signal(signal.SIGINT, lambda *about: came.append(about))
    try:
        yield came
    finally:
        signal.signal(signal.SIGINT, before)
        if came and callable(before):
            before(*came[0])


@contextlib.contextmanager
def interrupts_answered() -> Iterator[None]:
    """Let no further Ctrl-C strike while one is answered, which must not take long."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, lambda *about: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
