"""Mutants that no test can kill, each with the reason: (file, function, kind, old, new, why)."""

from __future__ import annotations

EQUIVALENT: tuple[tuple[str, str, str, str, str, str], ...] = ()

REASONS = {entry[:5]: entry[5] for entry in EQUIVALENT}
