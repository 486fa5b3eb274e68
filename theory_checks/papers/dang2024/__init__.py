r"""Dang, Tran, Nguyen & Ho 2024: cross-entropy with nonnegative features and imbalanced classes, no
bias.

The paper's objective is ours. The formulas are those of `theory/imbalanced.md` and written out
here. The problem is not convex in any lift, so that the best of several starts is what is measured;
the theorem says that nothing lies below it.
"""

from theory_checks.engine.registry import paper

paper(
    "dang2024",
    "Dang, Tran, Nguyen & Ho 2024, cross-entropy, nonnegative features, imbalanced classes",
    arxiv="2401.02058",
)
