r"""Zhou, Li, Ding, You, Qu, Zhu 2022, "On the Optimization Landscape of Neural Collapse under MSE
Loss": penalised bias.

Their objective, $\frac{1}{2N}\|WH + b\mathbf 1^\top - Y\|^2 + \frac{\lambda_W}{2}\|W\|^2 +
\frac{\lambda_H}{2}\|H\|^2 + \frac{\lambda_b}{2}\|b\|^2$, is that of `ufm`: nothing to translate.
With c0 = K √(n λ_W λ_H) and ω = λ_b/(1+λ_b) the K − 1 contrasts reach the fraction (1 − c0)₊ of
their target and the mean direction (1 − c0/ω)₊, so the ETF is exact up to λ_b = c0/(1−c0) and not
only without penalty.
"""

from theory_checks.engine.registry import paper

paper(
    "zhou2022",
    "Zhou et al. 2022, On the Optimization Landscape of Neural Collapse under MSE Loss",
    arxiv="2203.01238",
)
