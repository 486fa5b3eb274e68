"""What the papers' theorems rest on and take for granted, in the normalisation of `ufm`: nothing to
translate."""

from theory_checks.engine.registry import paper

paper("ufm", "Foundations, used by every paper")
