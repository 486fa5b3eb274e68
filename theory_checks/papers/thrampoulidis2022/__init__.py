r"""Thrampoulidis, Kini, Vakilian, Behnia 2022, "Imbalance Trouble: Revisiting Neural-Collapse
Geometry" (SELI).

Their ridge-regularised objective is the unnormalised sum $\sum_i\mathrm{CE}(Wh_i, y_i) +
\frac\lambda2\|W\|^2 + \frac\lambda2\|H\|^2$: the objective of `ufm` times N with $\lambda_W =
\lambda_H = \lambda/N$. Class level, with D = diag(n_k) and S = I − 11ᵀ/K: SELI has logits
proportional to S, W Wᵀ to (S D S)^{1/2}, and class means with its pseudo-inverse as Gram.
Statements are cited by content.
"""

from theory_checks.engine.registry import paper

paper(
    "thrampoulidis2022",
    "Thrampoulidis et al. 2022, Imbalance Trouble: Revisiting Neural-Collapse Geometry",
    arxiv="2208.05512",
)
