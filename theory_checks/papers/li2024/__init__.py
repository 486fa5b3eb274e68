r"""Li, Li, Wang & Qu 2024, neural collapse in multi-label learning with the pick-all-label loss.

Recalled, not quoted. Their objective is $\frac1N\sum_i\sum_{k\in S_i}\mathrm{CE}(z_i, e_k)$ plus
λ/2 decays of W, of all columns of H and of b. In `ufm` a label set S is a column with target
$\mathbf 1_S/|S|$ and loss weight |S|; their objective is κ times that with decays λ/κ, $\kappa =
\sum_Sn_S|S|/N$. The parameters of a case are theirs.
"""

from theory_checks.engine.registry import paper

paper(
    "li2024",
    "Li, Li, Wang & Qu 2024, Neural Collapse in Multi-label Learning with Pick-all-label Loss",
    arxiv="2310.15903",
)
