r"""Garrod & Keating 2025, "The Persistence of Neural Collapse Despite Low-Rank Bias": the deep
linear model with cross-entropy.

Their objective, $\frac{1}{Kn}\sum\ell + \frac\lambda2(\sum_{l=1}^L\|W_l\|^2 + \|H_1\|^2)$, is that
of `ufm` with M = L and all λ equal. L counts weight matrices, so that L = 1 is the plain model.
Statements are cited by content.
"""

from theory_checks.engine.registry import paper

paper(
    "garrod2024",
    "Garrod & Keating 2025, The Persistence of Neural Collapse Despite Low-Rank Bias",
    arxiv="2410.23169",
    part="linear",
)
