"""What a check of one's own may get wrong, said in words."""

from __future__ import annotations


def require(condition, message: str) -> None:
    """`ValueError` with the message unless the condition holds."""
    if not condition:
        raise ValueError(message)
