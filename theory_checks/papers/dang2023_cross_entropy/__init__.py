r"""Dang et al. 2023, "Neural Collapse in Deep Linear Networks", cross-entropy: a published theorem
that is false for M >= 2.

Their objective, $\frac1N\sum_i \ell(W_M\cdots W_1 h_i + b, y_i) +
\sum_m\frac{\lambda_m}{2}\|W_m\|^2 + \frac{\lambda_H}{2}\|H\|^2 + \frac{\lambda_b}{2}\|b\|^2$ with H
summed over all columns, is that of `ufm`: nothing to translate. The statement is taken from Garrod
& Keating 2025, who quote and contradict it. b = 0 is feasible and the value of the ETF does not
depend on b, so a counterexample without bias is one with it. Where the theorem is not refuted "best
known" is all that is said: for M >= 2 no search proves a minimum.

`python -m theory_checks run -k dang2023_cross --counterexamples DIR` writes each counterexample to
a file; with `--prove` it carries both ends of a proof, which `docs/check_refutation.py` verifies.
To judge one without this code:

    import numpy as np
    with np.load(path) as file:
        c = dict(file)
    Z, decay = c["H"], c["lambda_H"] * np.sum(c["masses"] * c["H"] ** 2)
    for m, lam in enumerate(c["lambda_W"], start=1):
        Z, decay = c[f"W_{m}"] @ Z, decay + lam * np.sum(c[f"W_{m}"] ** 2)
    Z, decay = Z + c["b"][:, None], decay + c["lambda_b"] * np.sum(c["b"] ** 2)
    losses = np.log(np.sum(np.exp(Z), axis=0)) - np.sum(c["targets"] * Z, axis=0)
    value = np.average(losses, weights=c["masses"]) + decay / 2
    print(f"value {value:.12g}, claimed to be the least {c['claimed']:.12g}")
"""

from theory_checks.engine.registry import paper

paper(
    "dang2023_cross_entropy",
    "Dang et al. 2023, Neural Collapse in Deep Linear Networks",
    arxiv="2301.00437",
    part="cross-entropy",
)
