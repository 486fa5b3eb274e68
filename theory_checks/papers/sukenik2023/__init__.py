r"""Súkeník, Mondelli & Lampert 2023: for two classes deep neural collapse is optimal at any depth.

Theirs: $\frac1{2N}\|W_L\sigma(W_{L-1}\cdots\sigma(W_1H_1))-Y\|^2 + \sum_l\frac{\lambda_l}2\|W_l\|^2
+ \frac{\lambda_{H_1}}2\|H_1\|^2$ with $\sigma$ the ReLU; that of `ufm` with N = 2n, `lambda_W` and
`lambda_H` as they are. The statement is recalled, not quoted: the optimum is collapsed with
orthogonal class means behind every ReLU iff $n\lambda_{H_1}\prod\lambda_l <
(L-1)^{L-1}/(2^{L+1}L^{2L})$, else zero. Features and what enters the first ReLU are left
undetermined (a whole face has the same value, derived here), so nothing is claimed of these.
"""

from theory_checks.engine.registry import paper

paper(
    "sukenik2023",
    "Súkeník, Mondelli & Lampert 2023, Deep neural collapse is provably optimal (two classes)",
    arxiv="2305.13165",
)
