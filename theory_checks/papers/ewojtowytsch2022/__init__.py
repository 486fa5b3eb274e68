r"""E & Wojtowytsch 2022: what cross-entropy does to outputs and features that lie in a ball.

Recalled, not quoted: outputs in a ball of radius R are the vertices of a regular simplex at the
minimum, class by class; with a last linear layer of bounded size the features before it form one
too. Here the outputs are features under a frozen identity, so that each column is a problem of its
own; in the second statement rows and features are in balls each (that form, and both certificates,
ours).
"""

from theory_checks.engine.registry import paper

paper(
    "ewojtowytsch2022",
    "E & Wojtowytsch 2022, simplex symmetry of outputs and features in balls",
    arxiv="2012.05420",
)
