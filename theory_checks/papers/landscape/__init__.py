r"""Landscape claims: one layer has no spurious minima, from two layers on there are many.

Zhu et al. 2021 (cross-entropy) and Zhou et al. 2022 (squared error) prove that every critical point
of the plain model that is not global is a strict saddle. Their objectives are that of `ufm`.
Stationary points are made in ways that know nothing of the statement: as minima inside an invariant
subspace, and for squared error class by class from the scalar equation of Dang et al. 2023. What
depth does to the landscape is derived.
"""

from theory_checks.engine.registry import paper

paper(
    "landscape",
    "The landscape: Zhu et al. 2021, Zhou et al. 2022 (one layer), and what depth does to it",
)
