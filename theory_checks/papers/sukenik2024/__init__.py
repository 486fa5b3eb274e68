r"""Súkeník, Lampert & Mondelli 2024: a low-rank structure below deep neural collapse.

The deep ReLU model under squared error. Seen are the abstract and the captions of the figures; the
constants here are derived from the stated construction (classes are the edges of a complete graph).
Its sentence that beyond two layers or two classes collapse stops being optimal is too wide if taken
literally: for two classes collapse is optimal at any depth (recalled of their paper of the year
before), and behind three matrices nothing below collapse is known for K <= 6. From four matrices on
it holds for every K >= 3, behind three at one decay from K = 7 on and at all from K = 12 on, by
other structures and points: `ours_relu`.
"""

from theory_checks.engine.registry import paper

paper(
    "sukenik2024",
    "Súkeník, Lampert & Mondelli 2024, Neural collapse vs. low-rank bias",
    arxiv="2405.14468",
)
