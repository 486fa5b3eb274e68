r"""Liu 2024 (arXiv 2411.17278), deep linear networks on unconstrained features with a bias:
imbalanced squared error.

The objective, $\frac1{2N}\|W_M\cdots W_1H + b\mathbf 1^\top - Y\|^2$ plus λ/2 decays, b free, is
that of `ufm`: nothing to translate. Their label matrix is $\hat Y = (I_K - \frac1Nn\mathbf
1^\top)D^{1/2}$ with singular values √μ_j. In terms of direction j the problem is that of a class
with μ_j samples in Dang et al. 2023, t_j = b/μ_j, whose fractions are used here.
"""

from theory_checks.engine.registry import paper

paper(
    "liu2024",
    "Liu 2024, imbalanced squared error with a bias, deep linear networks",
    arxiv="2411.17278",
)
