r"""Saxe, McClelland & Ganguli 2014, "Exact solutions to the nonlinear dynamics of learning in deep
linear neural networks".

With features as a free factor the input is white, and the modes are the singular triples (s_k, e_k,
r_k) of the label matrix Y; for one-hot labels s_k = √n_k. The laws are those of the sum of the
sample losses: t = (time of `ufm`) / N and λ = N (λ of `ufm`). Every λ below is theirs. Cited by
content; depth, decay and the explicit unbalanced form are derived.
"""

from theory_checks.engine.registry import paper

paper(
    "saxe2014",
    "Saxe, McClelland & Ganguli 2014, Exact solutions to the nonlinear dynamics of learning",
    arxiv="1312.6120",
)
