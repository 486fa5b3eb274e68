r"""The conservation law of gradient flow in linear layers: neighbouring factors keep their
imbalance, and equal decay shrinks it.

Without decay the law is that of Saxe, McClelland & Ganguli 2014 and Du, Hu & Lee 2018 for deep
linear networks (cited by content); features are one more factor, whose columns count with their
masses. With decay: derived. The normalisation drops out: λt is the same for sum and mean of the
losses.
"""

from theory_checks.engine.registry import paper

paper("conservation", "Conservation of imbalance under gradient flow")
