r"""Súkeník, Lampert & Mondelli 2025: residual networks and transformers, in their reduced model.

Decay on W alone, features of mean zero over coordinates and unit length (LayerNorm):
$\frac1N\sum\ell(Wh) + \frac\lambda2\|W\|^2$. Mean zero is a hyperplane, so d coordinates are a
sphere in d − 1 dimensions, which is how `ufm` holds it: `features=Sphere(1.0)`, `lambda_H=0`,
widths (d − 1,). The paper's text was not seen: that optima are collapsed for cross-entropy and
squared error is from its abstract; the closed forms are derived here, and certified.

How residual layers come to have such features: a linear chain $A = \prod_l(I+W_l)$ with A symmetric
of eigenvalues a moves them, at a cost that vanishes like 1/L with one matrix a block and does not
with two. These are costs of that chain, derived here; that no other is cheaper is not claimed.
"""

from theory_checks.engine.registry import paper

paper(
    "sukenik2025",
    "Súkeník, Lampert & Mondelli 2025, residual networks in a reduced model",
    arxiv="2505.15239",
)
