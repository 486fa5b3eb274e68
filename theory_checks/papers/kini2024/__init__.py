r"""Kini, Vakilian, Behnia, Gill & Thrampoulidis 2024: the supervised contrastive loss on features
that are not negative.

Only the abstract was seen; values and proofs are derived. The loss is the sum over samples,
$\sum_i[\log\sum_{l\ne i}e^{h_l^\top h_i/\tau} - \mathrm{mean}_{j\ne i,\,y_j=y_i}\,h_j^\top
h_i/\tau]$, here divided by N; nonnegative features of unit length are embeddings $h\circ
h/\|h\circ h\|$, so that they are found from random starts without a constraint.
"""

from theory_checks.engine.registry import paper

paper(
    "kini2024",
    "Kini et al. 2024, Symmetric Neural-Collapse Representations with Supervised Contrastive Loss",
    arxiv="2306.07960",
)
