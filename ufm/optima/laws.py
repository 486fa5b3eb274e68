"""Laws, limits, candidates and critical ratios that a paper states beside its optimum: `ufm.laws`.

`theory(problem)` says which of them speak about a problem. Flows are functions of time
(`ufm/optima/dynamics.py` has the normalisation); mixup, its channels and the perturbation model
have more in `ufm.channels` and `ufm.perturbation`.
"""

from ufm.optima.balanced_softmax import balanced_softmax_logits
from ufm.optima.cross_entropy import zero_strength
from ufm.optima.cross_entropy_dynamics import cross_entropy_gap, fixed_etf_gap, max_margin
from ufm.optima.deep_cross_entropy import DeepCandidate, deep_candidates
from ufm.optima.dynamics import imbalance, library_time, sum_decay, sum_time
from ufm.optima.etf_branch import EtfBranch, etf_branch
from ufm.optima.focal import FocalScale, FocalThresholds, focal_scale, focal_thresholds
from ufm.optima.joint_mixup import (
    MixupOptimum,
    mixup_optimum,
    mixup_quadrature_error,
    mixup_threshold,
)
from ufm.optima.layer_peeled import MergedMinority, merged_minority, minority_collapse_ratio
from ufm.optima.manifold_mixup import manifold_mixup_optimum
from ufm.optima.next_token_svm import NextTokenSVM, next_token_svm
from ufm.optima.rectified import RectifiedScale, least_complexity, rectified_scale
from ufm.optima.rectified_codes import code_complexity
from ufm.optima.rectified_points import rectified_point
from ufm.optima.rectified_structures import RectifiedStructure, rectified_structures
from ufm.optima.rectified_triple import triple_complexity
from ufm.optima.seli_geometry import SELI, seli, seli_distance
from ufm.optima.squared_error_flows import balanced_gram, renormalised_spectrum, small_start
from ufm.optima.squared_error_mixup import squared_error_mixup_spectrum
from ufm.optima.squared_error_modes import deep_mode, saxe_mode, saxe_mode_unbalanced
from ufm.optima.two_clusters import minority_strength, vanishing_strength

__all__ = [
    "SELI",
    "DeepCandidate",
    "EtfBranch",
    "FocalScale",
    "FocalThresholds",
    "MergedMinority",
    "MixupOptimum",
    "NextTokenSVM",
    "RectifiedScale",
    "RectifiedStructure",
    "balanced_gram",
    "balanced_softmax_logits",
    "code_complexity",
    "cross_entropy_gap",
    "deep_candidates",
    "deep_mode",
    "etf_branch",
    "fixed_etf_gap",
    "focal_scale",
    "focal_thresholds",
    "imbalance",
    "least_complexity",
    "library_time",
    "manifold_mixup_optimum",
    "max_margin",
    "merged_minority",
    "minority_collapse_ratio",
    "minority_strength",
    "mixup_optimum",
    "mixup_quadrature_error",
    "mixup_threshold",
    "next_token_svm",
    "rectified_point",
    "rectified_scale",
    "rectified_structures",
    "renormalised_spectrum",
    "saxe_mode",
    "saxe_mode_unbalanced",
    "seli",
    "seli_distance",
    "small_start",
    "squared_error_mixup_spectrum",
    "sum_decay",
    "sum_time",
    "triple_complexity",
    "vanishing_strength",
    "zero_strength",
]
