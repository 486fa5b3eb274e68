r"""Andriopoulos, Dong, Guo, Zhao & Ross 2024, neural collapse in multivariate regression.

Their objective is $\frac1{2M}\|WH + b\mathbf 1^\top - Y\|^2 + \frac{\lambda_H}{2M}\|H\|^2 +
\frac{\lambda_W}2\|W\|^2$ with M samples, n targets and a free bias: that of `ufm` with decay
$\lambda_H/M$ of the features. $\Sigma = \frac1M\sum_i(y_i-\bar y)(y_i-\bar y)^\top$ and $c =
\lambda_W\lambda_H$. A case has the eigenvalues of Σ; eigenvectors and samples are drawn. Deeper
products are ours, with $c^m$ the product of all decays of m layers: a direction of Σ is a class of
$M\,\mathrm{eig}_j$ samples in Dang et al. 2023.
"""

from theory_checks.engine.registry import paper

paper(
    "andriopoulos2024",
    "Andriopoulos et al. 2024, The Prevalence of Neural Collapse in Neural Multivariate Regression",
    arxiv="2409.04180",
)
