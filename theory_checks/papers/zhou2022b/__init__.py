r"""Zhou, You, Li, Liu, Liu, Qu, Zhu 2022, "Are All Losses Created Equal: A Neural Collapse
Perspective": label smoothing, focal loss.

Their objective is the mean loss plus λ/2 decays of W, of all N columns of H and of b, as in `ufm`:
nothing to translate. Targets under label smoothing are (1 − s) e_k + s/K. With c = √(n λ_W λ_H) the
logits are a S and a minimises ψ(a) + c (K − 1) a; ψ and a are derived. Focal loss is not convex in
the logits, so nothing certifies a point: there the value is that of the best of several starts.
"""

from theory_checks.engine.registry import paper

paper("zhou2022b", "Zhou et al. 2022, Are All Losses Created Equal", arxiv="2210.02192")
