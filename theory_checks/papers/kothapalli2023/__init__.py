r"""Kothapalli, Tirer & Bruna 2023, neural collapse in graph neural networks.

Recalled: their model has logits $W_1H + W_2H\hat A$ with the column-normalised adjacency $\hat A$;
here is the graph convolution alone, $WH\hat A$, with squared error. `formulas.py` defines it as a
map, as a user of `ufm` would. Nodes are full columns, K classes of n each. What is printed is
derived here.
"""

from theory_checks.engine.registry import paper

paper(
    "kothapalli2023",
    "Kothapalli, Tirer & Bruna 2023, neural collapse in graph neural networks",
    arxiv="2307.01951",
)
