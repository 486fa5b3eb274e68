r"""Dang, Tran, Osher, Tran-The, Ho, Nguyen 2023, "Neural Collapse in Deep Linear Networks": squared
error.

Their objective, $\frac{1}{2N}\|W_M\cdots W_1 H + b\mathbf 1^\top - Y\|^2 +
\sum_m\frac{\lambda_m}{2}\|W_m\|^2 + \frac{\lambda_H}{2}\|H\|^2$ with H summed over all N columns
and an unpenalised bias, is that of `ufm` as it stands: nothing to translate. Their shape constants
b, c and x are in `theory_checks/formulas/squared_error.py`. The statements are cited by content.
`balanced.py` and `imbalanced.py` try them on full columns from random starts, `protocol.py` runs
the paper's own script.
"""

from theory_checks.engine.registry import paper

paper(
    "dang2023",
    "Dang et al. 2023, Neural Collapse in Deep Linear Networks",
    arxiv="2301.00437",
    part="squared error",
)
