"""Classes and numbers in messages."""

from __future__ import annotations

import numpy as np


def listed(classes) -> str:
    """Some classes, by their numbers, for a message."""
    classes = np.sort(np.asarray(classes))
    return f"classes {shown(classes)[1:-1]}" if len(classes) > 1 else f"class {classes[0]}"


def shown(values) -> str:
    """A few numbers, for a message."""
    values = np.asarray(values)
    text = ", ".join(f"{v:g}" for v in values[:8])
    return f"[{text}{', …' if len(values) > 8 else ''}]"
