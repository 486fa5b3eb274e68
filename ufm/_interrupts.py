"""Ctrl-C where it must not strike between two statements."""

from __future__ import annotations

import contextlib
import gc
import importlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


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


def import_whole(name: str) -> None:
    """Import a module with extensions, and answer Ctrl-C at the end.

    Amid that of an extension it is an ImportError, or the end of the process.
    """
    with interrupts_later():
        importlib.import_module(name)


@contextlib.contextmanager
def interrupts_heard() -> Iterator[None]:
    """Ctrl-C is a `KeyboardInterrupt` inside, as always, and also where Python would lose it.

    Whoever has it answered in another way, or ignored, keeps that.
    """
    usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not usual or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, _raise_where_heard)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _raise_where_heard(number: int, frame: FrameType | None) -> None:
    # (what a callback of the garbage collector raises is printed and forgotten, and JAX has one)
    deaf = {getattr(callback, "__code__", None) for callback in gc.callbacks}
    while frame is not None:
        if frame.f_code in deaf:
            # (once more in a moment, and to this thread: it may sleep by then)
            again = threading.Timer(
                0.01, signal.pthread_kill, [threading.main_thread().ident, number]
            )
            again.start()
            return
        frame = frame.f_back
    raise KeyboardInterrupt


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
