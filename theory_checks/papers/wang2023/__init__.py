r"""Wang, Cheng, Duan, Wang, Feng & Kong 2023, feature norm and direction in distillation; and what
distillation with labels does.

Recalled, not quoted. Their loss beside cross-entropy is $\gamma\,\mathrm{mean}[1 - \langle h,
e_y\rangle/\max(\|h\|, \tau)]$ with the teacher's class directions $e_y$ and a length τ of its
features. Decay is $\tfrac\mu2\|h\|^2$ per sample of the mean, $\lambda_H = \mu/N$. Up to τ the loss
is linear in the feature: with $\beta h^0 = \tfrac\gamma{N\tau}e$ and a decay β less it is
the pull to an anchor of `ufm`, up to a constant. What is said of labels that a teacher gives is
derived.
"""

from theory_checks.engine.registry import paper

paper(
    "wang2023",
    "Wang et al. 2023, Knowledge Distillation via Regularizing Feature Norm and Direction",
    arxiv="2305.17007",
)
