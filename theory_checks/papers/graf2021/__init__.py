r"""Graf, Hofer, Niethammer & Kwitt 2021, its half about cross-entropy: features in a ball, decay of
the classifier.

Recalled, not quoted: $\mathrm{CE} + \lambda\|W\|_F^2$ with $\|h\|\le\rho$, balanced, $K\le d+1$.
Their λ has no factor 1/2, so that $\lambda_W = 2\lambda$ here. The half about the contrastive loss
is not here.
"""

from theory_checks.engine.registry import paper

paper(
    "graf2021",
    "Graf, Hofer, Niethammer & Kwitt 2021, cross-entropy with features in a ball",
    arxiv="2102.08817",
)
