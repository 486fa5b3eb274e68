"""What commands print for a program: plain tables, and where the numbers were made."""

from __future__ import annotations

import math

from ufm._version import __version__


def environment(dtype) -> dict[str, str]:
    """Versions, backend and dtype."""
    import jax

    return {
        "ufm": __version__,
        "jax": jax.__version__,
        "backend": jax.default_backend(),
        "dtype": str(dtype),
    }


def plain(value):
    """Numbers, strings, lists and tables only.

    What is not finite becomes null, because JSON has no word for it.
    """
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
