"""What is asked of a solution, or of the features of a real network."""

from ufm.analysis import observables
from ufm.analysis.best_known import BestKnown
from ufm.analysis.calibration import Reliability, drawn_labels, reliability
from ufm.analysis.critical_decay import thresholds
from ufm.analysis.fitting import FittedDecay, fit_decay
from ufm.analysis.landscape import Classification, HessianSpectrum, classify, hessian_spectrum
from ufm.analysis.loading import LoadedFeatures, load_features
from ufm.analysis.projection import (
    Channels,
    Projection,
    channel_coordinates,
    three_class_projection,
)
from ufm.analysis.search_starts import start_from_logits
from ufm.analysis.searches import search

__all__ = [
    "BestKnown",
    "Channels",
    "Classification",
    "FittedDecay",
    "HessianSpectrum",
    "LoadedFeatures",
    "Projection",
    "Reliability",
    "channel_coordinates",
    "classify",
    "drawn_labels",
    "fit_decay",
    "hessian_spectrum",
    "load_features",
    "observables",
    "reliability",
    "search",
    "start_from_logits",
    "three_class_projection",
    "thresholds",
]
