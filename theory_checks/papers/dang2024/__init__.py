r"""Dang, Tran, Nguyen & Ho 2024: cross-entropy with nonnegative features and imbalanced classes, no
bias.

The paper's objective is ours. The formulas are those of `theory/imbalanced.md` and written out
here. Several starts are measured, as a class can be lost in a local minimum; the certificate for
nonnegative features, which is ours, bounds what lies below the best of them.
"""

from theory_checks.engine.registry import paper

paper(
    "dang2024",
    "Dang, Tran, Nguyen & Ho 2024, cross-entropy, nonnegative features, imbalanced classes",
    arxiv="2401.02058",
)
