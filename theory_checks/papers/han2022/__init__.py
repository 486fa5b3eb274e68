r"""Han, Papyan & Donoho 2022, "Neural collapse under MSE loss: proximity to and dynamics on the
central path": the renormalised flow.

Their loss $\tfrac12\,\mathrm{Avg}_{i,c}\|Wh + b - y\|^2$ without decay is that of `ufm` as it
stands, and so is its time; C is their number of classes, n that of examples a class. Their c_1,
c_2, c_3 are n C², n C and n/4, derived for the flow in all feature vectors.
"""

from theory_checks.engine.registry import paper

paper("han2022", "Han, Papyan & Donoho 2022, Neural collapse under MSE loss", arxiv="2106.02073")
