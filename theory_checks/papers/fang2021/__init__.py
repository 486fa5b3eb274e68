r"""Fang, He, Long & Su 2021, the layer-peeled model: bounded instead of penalised factors, and
minority collapse at a finite ratio.

Their model bounds mean squares of classifier rows and features, class by class,

$$\min\ \tfrac1N\sum_{k,i}\mathrm{CE}(Wh_{ki}, k)\quad\text{s.t.}\quad
  \tfrac1K\sum_k\|w_k\|^2\le E_W,\quad
  \tfrac1K\sum_k\tfrac1{n_k}\sum_i\|h_{ki}\|^2\le E_H.$$

These are budgets of `ufm`, with weights 1 of the rows and $1/n_k$ of the samples, and their
certificate bounds what lies below a solution. In Z the two bounds are $\|\bar Z\|_*\le\tau =
K\sqrt{E_WE_H}$ on the class-level logits, with a multiplier ν; those of the budgets are
$\nu\sqrt{E_H/E_W}$ and $\nu\sqrt{E_W/E_H}$.

In Z alone the problem is convex, so minority columns can only coincide or not: they do from a
finite ratio $n_A/n_B = R_0$ on, where $\nu = n_B/N$. With $g$ the gap of a minority sample between
a minority and a majority logit, everything at $R_0$ is explicit:

    minority sample   p_maj = 1/(k_A + k_B e^g),  K c = −k_B g,  s = −c/p_maj
    majority sample   K (k_B R² p_min² + k_A p_maj²) = 1,  R (1 − p_own + p_other) = 1,
                      p_own + (k_A − 1) p_other + k_B p_min = 1
    their logits      a = log(p_own/p_other),  K d = k_A log(p_min/p_other) − a,
                      d = −s R p_min,  τ = (k_A − 1) a + s

with d the minority entries of a majority column and c the majority entries of a minority column;
the last equation for d fixes g.
"""

from theory_checks.engine.registry import paper

paper(
    "fang2021",
    "Fang, He, Long & Su 2021, the layer-peeled model and minority collapse",
    arxiv="2101.12699",
)
