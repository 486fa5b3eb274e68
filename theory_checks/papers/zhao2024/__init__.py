r"""Zhao, Behnia, Vakilian & Thrampoulidis 2024, "Implicit Geometry of Next-token Prediction".

Context c of C, a label $q_c$ over V words with support $S_c$, a feature of its own: the objective
of `ufm` with soft labels, loss weights $\omega_c$ and masses $m_c$, $\mu =
\sqrt{\lambda_W\lambda_H}$. Whether they give a feature to each context or to each occurrence was
not seen: here $\omega_c = m_c/\sum m$, and $m_c = 1$ unless a case says otherwise. The limit of
vanishing ridge is theirs (abstract; recalled); closed form, thresholds, rates and merging are
derived.
"""

from theory_checks.engine.registry import paper

paper(
    "zhao2024",
    "Zhao et al. 2024, Implicit Geometry of Next-token Prediction",
    arxiv="2408.15417",
)
