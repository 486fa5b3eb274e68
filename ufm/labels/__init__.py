"""What the logits should be: targets and masses of columns, and the families of them in use."""

from ufm.labels.base import (
    Labels,
    collapse,
    exponential_counts,
    one_hot,
    smoothed,
    soft,
    step_counts,
)
from ufm.labels.mixtures import (
    MixedPairs,
    beta_quadrature,
    mixed_pairs,
    mixing_moment,
    mixup,
    sampled_mixup,
)

__all__ = [
    "Labels",
    "MixedPairs",
    "beta_quadrature",
    "collapse",
    "exponential_counts",
    "mixed_pairs",
    "mixing_moment",
    "mixup",
    "one_hot",
    "sampled_mixup",
    "smoothed",
    "soft",
    "step_counts",
]
