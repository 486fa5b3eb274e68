"""What the commands share: compiled programs kept between runs, threads for sweeps. The library itself never switches these on."""

from __future__ import annotations

import os
import sys
import tempfile

# Threads of XLA's pool that one program of a sweep can hold at a time: it has that many loops inside one another, and on a CPU each may
# wait there for its inner one. Where two such programs shared a pool of two threads, both waited for ever (`sweeping/work.py` sees to it).
THREADS_OF_A_RUN = 3
# A pool in which as many of them as there are cores can run. XLA reads the environment variable NPROC once, when JAX is first used.
POOL_OF_SWEEPS = str(THREADS_OF_A_RUN * (os.cpu_count() or 1) + 1)


def make_room_for_sweeps() -> None:
    """Let a sweep have all cores at work, in a process that has not used JAX yet. A pool that the user asked for stays."""
    # later, the variable would name a pool that is not there, and the sweep would wait for ever
    if "jax" not in sys.modules:
        os.environ.setdefault("NPROC", POOL_OF_SWEEPS)


def keep_compiled_programs() -> str | None:
    """Let JAX keep compiled programs in the user's cache folder; the folder, or None where nothing can be written."""
    import jax

    folder = cache_folder()
    if folder is not None:
        jax.config.update("jax_compilation_cache_dir", folder)
        # the default keeps only programs that took a second to compile; ours take less, and there are many
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    return folder


def cache_folder() -> str | None:
    """The folder for compiled programs, made if need be, or None where nothing can be written."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    folder = os.path.join(base, "ufm", "compiled")
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        return None
