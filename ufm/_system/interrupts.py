"""Ctrl-C where it must not strike between two statements."""

from __future__ import annotations

import _thread
import contextlib
import importlib
import signal
import sys
import threading
import time
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


def import_whole(name: str) -> None:
    """Import a module with extensions, and answer Ctrl-C at the end.

    Amid that of an extension it is an ImportError, or the end of the process.
    """
    with interrupts_later():
        importlib.import_module(name)


@contextlib.contextmanager
def interrupts_heard() -> Iterator[None]:
    """Ctrl-C is a `KeyboardInterrupt` inside, also one that Python prints and forgets.

    It does so with what is raised in a callback of the garbage collector, of which JAX has one, or
    in a finaliser.
    """
    before = sys.unraisablehook

    def once_more(unraisable) -> None:
        if unraisable.exc_type is not KeyboardInterrupt:
            before(unraisable)
            return
        # (`Thread.start` waits for the thread, in which another Ctrl-C would be forgotten too)
        _thread.start_new_thread(_strike_again, ())

    sys.unraisablehook = once_more
    try:
        yield
    finally:
        sys.unraisablehook = before


def _strike_again() -> None:
    """In a moment, when what forgot the first is over, and to a main thread that may sleep."""
    time.sleep(0.05)
    main = threading.main_thread().ident
    assert main is not None
    signal.pthread_kill(main, signal.SIGINT)


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
