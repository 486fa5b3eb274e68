r"""Shen, Sun & Wei 2023, Equiangular Basis Vectors: a fixed classifier of nearly orthogonal rows.

N unit rows w_k in $\mathbb R^d$ with $|w_j\cdot w_k|\le\alpha$, and features trained towards them
(recalled). Here features lie in a ball of radius β, their inverse temperature, and cross-entropy is
the loss: what α does to the optimum is derived, as are the bounds that no basis beats.
"""

from theory_checks.engine.registry import paper

paper(
    "shen2023",
    "Shen, Sun & Wei 2023, Equiangular Basis Vectors",
    arxiv="2303.11637",
)
