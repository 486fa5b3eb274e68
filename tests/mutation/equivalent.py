"""Mutants that no test can kill, each with the reason.

(file, function, kind, old, new, which of those that read alike, why)
"""

from __future__ import annotations

_BRACKET = "a bracket may be any that holds the root: bisection ends at the same number"

EQUIVALENT: tuple[tuple[str, str, str, str, str, int, str], ...] = (
    ("ufm/optima/two_clusters.py", "vanishing_strength", "const×1.01", "0.0", "(0.01)", 2, _BRACKET),
    ("ufm/optima/two_clusters.py", "vanishing_strength", "const×100", "0.0", "(1.0)", 2, _BRACKET),
)

REASONS = {entry[:6]: entry[6] for entry in EQUIVALENT}
