r"""Lu & Steinerberger 2022: cross-entropy of unit vectors.

Recalled, not quoted: one feature a class, features and rows of length one, $d\ge K-1$; the simplex
is the global minimum. Their logits have no temperature, which is $\beta = 1$ here; that every β is
alike is ours.
"""

from theory_checks.engine.registry import paper

paper("lu2022", "Lu & Steinerberger 2022, cross-entropy on the sphere", arxiv="2012.08465")
