"""Compiled programs: kept between processes, and a word on a terminal where making them takes
long."""

from __future__ import annotations

import os
import sys
import tempfile
from typing import Any

from ufm._validate import require_path

# Seconds of compiling that are worth a word.
_LONG = 1.0
_COMPILING = "/jax/core/compile/backend_compile_duration"


def enable_compilation_cache(folder=None) -> str | None:
    """Let JAX keep the programs that it compiles, for later processes to read back.

    For scripts and notebooks; the commands do it by themselves. A first solve of many classes takes
    a second or more to compile, and a fifth of that to read.

    Parameters
    ----------
    folder
        Where to keep them. The user's cache folder unless given: `ufm/compiled` below
        `$XDG_CACHE_HOME` or `~/.cache`.

    Returns
    -------
    str or None
        The folder, or None where nothing can be written and nothing is kept.

    Raises
    ------
    ValueError
        For a folder that is no path, or an empty one.

    Notes
    -----
    It configures JAX for the whole process. Call it before the first solve: a program that is
    compiled already is not kept.
    """
    import jax

    if folder is not None:
        folder = require_path("folder", folder)
    folder = _writable(_default() if folder is None else folder)
    if folder is not None:
        jax.config.update("jax_compilation_cache_dir", folder)
        # the default keeps only programs that took a second to compile; ours take less, and there
        # are many
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    return folder


def _default() -> str:
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(base, "ufm", "compiled")


def _writable(folder: str) -> str | None:
    """The folder, made if need be, or None where nothing can be written."""
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        return None


class _Spent:
    """Seconds that this process has compiled for, as JAX reports them."""

    seconds = 0.0
    listens = False

    def listen(self) -> None:
        """Ask JAX to report, once."""
        if not self.listens:
            import jax

            self.listens = True
            jax.monitoring.register_event_duration_secs_listener(self._heard)

    def _heard(self, event: str, duration_secs: float, **kwargs: Any) -> None:
        if event == _COMPILING:
            self.seconds += duration_secs


_spent = _Spent()


class Compiling:
    """One quiet line on a terminal where what is done inside compiles for more than a second.

    `show`: as for `Progress`.
    """

    def __init__(self, *, show: bool | None = None):
        self.shown = sys.stderr.isatty() if show is None else show

    def __enter__(self) -> Compiling:
        if self.shown:
            _spent.listen()
            self.before = _spent.seconds
        return self

    def __exit__(self, *_) -> None:
        if self.shown and _spent.seconds - self.before > _LONG:
            sys.stderr.write(
                f"compiled for {_spent.seconds - self.before:.1f} s, once for these shapes; "
                f"ufm.enable_compilation_cache() keeps it for the next process\n"
            )
            sys.stderr.flush()
