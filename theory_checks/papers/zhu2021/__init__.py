r"""Zhu, Ding, Zhou, Li, You, Sulam, Qu 2021, "A Geometric Analysis of Neural Collapse with
Unconstrained Features": cross-entropy.

Their objective, $\frac1N\sum\mathrm{CE}(Wh+b, y) + \frac{\lambda_W}2\|W\|^2 +
\frac{\lambda_H}2\|H\|^2 + \frac{\lambda_b}2\|b\|^2$ with H summed over all N columns, is that of
`ufm`: nothing to translate. With c = √(n λ_W λ_H) the scale of the logits and the threshold K c = 1
are derived; the statements are cited by content.
"""

from theory_checks.engine.registry import paper

paper(
    "zhu2021",
    "Zhu et al. 2021, A Geometric Analysis of Neural Collapse with Unconstrained Features",
    arxiv="2105.02375",
)
