r"""Behnia, Kini, Vakilian & Thrampoulidis 2023, the implicit geometry of losses with parameters of
classes.

Only the abstract was seen. Logit adjustment $\mathrm{CE}(z + \iota)$ is of Menon et al. 2021, a
class-dependent temperature $\mathrm{CE}(\Delta\circ z)$ (CDT) of Ye et al. 2020, both
`AdjustedCrossEntropy`; a margin of the true class alone is of Cao et al. 2019 (recalled, with
margins in proportion to $n^{-1/4}$), an offset of the labels. The temperature of a label,
$\mathrm{CE}(t_yz)$, is a loss of its own here. Objectives are those of `ufm`: the mean loss and λ/2
decays, of the features per sample.
"""

from theory_checks.engine.registry import paper

paper(
    "behnia2023",
    "Behnia et al. 2023, On the Implicit Geometry of Cross-Entropy Parameterizations",
    arxiv="2303.07608",
)
