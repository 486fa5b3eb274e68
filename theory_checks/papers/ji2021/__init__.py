r"""Ji, Lu, Zhang, Deng & Su 2021, "An unconstrained layer-peeled perspective on neural collapse":
cross-entropy without decay.

Their loss is the sum over the samples: t = (time of `ufm`) / N and λ = N (λ of `ufm`); every t and
λ below is theirs. The max-margin limit is cited by content; the exact laws on the symmetric
configuration, with decay, depth or a fixed simplex ETF, are derived.
"""

from theory_checks.engine.registry import paper

paper(
    "ji2021",
    "Ji et al. 2021, An unconstrained layer-peeled perspective on neural collapse",
    arxiv="2110.02796",
)
