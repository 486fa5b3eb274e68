r"""Jiang, Zhou, Wang, Qu, Mixon, You & Zhu 2023: more classes than dimensions, softmax codes.

Recalled, not quoted: on spheres, as the temperature goes to 0, features collapse (GNC1), classifier
rows maximise the one-vs-rest margin $\rho(W) = \min_k\mathrm{dist}(w_k, \mathrm{conv}\{w_j\}_{j\ne
k})$ (GNC2, softmax codes), and features lie along their rows (GNC3). Their temperature divides the
logits; here β is its inverse. What holds at finite β, and where GNC3 does not, is ours.
"""

from theory_checks.engine.registry import paper

paper(
    "jiang2023",
    "Jiang, Zhou, Wang, Qu, Mixon, You & Zhu 2023, generalised neural collapse",
    arxiv="2310.05351",
)
