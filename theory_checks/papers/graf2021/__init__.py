r"""Graf, Hofer, Niethammer & Kwitt 2021: cross-entropy with features in a ball and decay of the
classifier, and the supervised contrastive loss.

Recalled, not quoted: $\mathrm{CE} + \lambda\|W\|_F^2$ with $\|h\|\le\rho$, balanced, $K\le d+1$.
Their λ has no factor 1/2, so that $\lambda_W = 2\lambda$ here.
The contrastive loss is a sum over samples, here divided by N.
"""

from theory_checks.engine.registry import paper

paper(
    "graf2021",
    "Graf, Hofer, Niethammer & Kwitt 2021, cross-entropy and the supervised contrastive loss",
    arxiv="2102.08817",
)
