"""What the commands share: compiled programs kept between runs. The library itself never switches that on."""

from __future__ import annotations

import os
import tempfile


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
