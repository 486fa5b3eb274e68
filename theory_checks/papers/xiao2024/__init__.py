r"""Xiao et al. 2024, FedLoGe: a sparse simplex ETF as fixed classifier, local and global heads.

Recalled from their code: a random mask leaves 40 % of the entries, the rest is trained for equal
lengths and least cosines; heads have a bias; an auxiliary global head's rows are renormalised to
one length (GLA-FR). Here W is fixed, features have decay $\mu = N\lambda_H$ a sample, and the
global head is the best one, with decay, for the features that a fixed simplex ETF ends in. Derived
here.
"""

from theory_checks.engine.registry import paper

paper(
    "xiao2024",
    "Xiao et al. 2024, Joint Local and Generic Federated Learning under Long-tailed Data (FedLoGe)",
    arxiv="2401.08977",
)
