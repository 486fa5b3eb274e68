r"""Hong & Ling 2023, "Neural Collapse for Unconstrained Feature Model under Cross-entropy Loss with
Imbalanced Data".

Their convex form is $\min_{Z,b}\frac1N\sum_k n_k\mathrm{CE}(z_k+b,e_k) + l\,\|ZD^{1/2}\|_*$ plus
the decay of the bias, with $l = \sqrt{\lambda_W\lambda_H}$ in the λ/2 convention of `ufm`; the
penalties of their code carry no 1/2, with $\lambda_H = l/20$ and $\lambda_W = 5l$, that is
$\lambda_W = 10\,l$ and $\lambda_H = l/10$ here, which is how the cases are built. Thresholds are
derived from the convex form. Statements are cited by content.
"""

from theory_checks.engine.registry import paper

paper(
    "hong2023",
    "Hong & Ling 2023, Neural Collapse under Cross-entropy Loss with Imbalanced Data",
    arxiv="2309.09725",
)
