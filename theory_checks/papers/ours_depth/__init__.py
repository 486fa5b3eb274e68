r"""Ours: which codes deep linear chains reach without decay, against the softmax code's margin.

An experiment of ours and no theorem: nothing is cited, and its figures are measured. A chain
$Z = W_M\cdots W_1H$ with every hidden width d < K moves under cross-entropy by gradient flow. Its
last layer is looked at as softmax codes are defined, with rows of $W_M$ and features
$W_{M-1}\cdots W_1H$ of unit length: a softmax code maximises the least distance ρ of a row from
the hull of the others, and where features lie along their rows the least lead of an own logit too.
"""

from theory_checks.engine.registry import paper

paper("ours_depth", "Softmax codes from depth, ours")
