r"""Fisher, Meng, Papyan 2024, "Pushing Boundaries: Mixup's Influence on Neural Collapse".

The objective, with targets $q = \lambda e_i + (1-\lambda)e_j$ and one free feature for each (i, j,
λ),

    E_{(i,j), λ} [ CE(W h, q) + μ/2 ‖h‖² ] + λ_W/2 ‖W‖²,
    (i, j) uniform in [K]²,  λ ~ Beta(α, α),

is that of `ufm` with labels from `ufm.mixup`, whose masses sum to one, so that μ = `lambda_H`. A
sum over N² pairs of samples with un-normalised decay, (1/N²) Σ CE + (λ'_H/2) Σ ‖h‖², is the same
with μ = N² λ'_H; the mean over pairs of CE + (λ'_H/2)‖h‖² has μ = λ'_H. The paper's own printing of
the constants was not at hand, and every formula depends on s = μ/a alone: $WW^\top = aP$, $a =
m^2K/(K-1)$, rows of length m.

The paper derives the optimal features for a classifier that is a simplex ETF. That the learned
classifier is one, its size, the threshold of collapse, and the laws for s → 0 are derived here.
`formulas.py` has the formulas in the Lambert form (`ufm.channels` has another); `fixed.py` tries
them with the classifier given, `limits.py` at their limits, `joint.py` with both factors free,
`manifold.py` with the features of mixtures tied to those of the classes, `calibration.py` what
follows for probabilities.
"""

from theory_checks.engine.registry import paper

paper(
    "fisher2024",
    "Fisher, Meng & Papyan 2024, Pushing Boundaries: Mixup's Influence on Neural Collapse",
    arxiv="2402.06171",
)
