"""What the logits should be: targets and masses of columns, and the families of them in use."""

from ufm.labels.base import AbstractLabels
from ufm.labels.beta_law import beta_quadrature, mixing_moment
from ufm.labels.constructors import collapse, one_hot, smoothed, soft, sparse_soft
from ufm.labels.contrastive_labels import contrastive
from ufm.labels.dense import Labels, written_out
from ufm.labels.federation import federated
from ufm.labels.mixed_pairs import MixedPairs, mixed_pairs
from ufm.labels.mixtures import mixup, sampled_mixup
from ufm.labels.multi_label import pick_all
from ufm.labels.next_tokens import NextTokens, next_token, text_contexts
from ufm.labels.offsets import OffsetLabels, with_offsets
from ufm.labels.pairs import PairLabels
from ufm.labels.profiles import exponential_counts, step_counts
from ufm.labels.sparse import AbstractSparseLabels, SparseLabels

__all__ = [
    "AbstractLabels",
    "AbstractSparseLabels",
    "Labels",
    "MixedPairs",
    "NextTokens",
    "OffsetLabels",
    "PairLabels",
    "SparseLabels",
    "beta_quadrature",
    "collapse",
    "contrastive",
    "exponential_counts",
    "federated",
    "mixed_pairs",
    "mixing_moment",
    "mixup",
    "next_token",
    "one_hot",
    "pick_all",
    "sampled_mixup",
    "smoothed",
    "soft",
    "sparse_soft",
    "step_counts",
    "text_contexts",
    "with_offsets",
    "written_out",
]
