"""Losses of samples, as functions of their logits, with their convex conjugates."""

from ufm.losses.adjusted import AdjustedCrossEntropy
from ufm.losses.base import AbstractLoss
from ufm.losses.derivative import loss_and_dual as loss_and_dual
from ufm.losses.focal import Focal
from ufm.losses.inspection import LossReport, check_loss
from ufm.losses.parameters import per_class
from ufm.losses.softmax import CrossEntropy
from ufm.losses.squared import MeanSquaredError, RescaledSquaredError
from ufm.losses.sums import Sum

__all__ = [
    "AbstractLoss",
    "AdjustedCrossEntropy",
    "CrossEntropy",
    "Focal",
    "LossReport",
    "MeanSquaredError",
    "RescaledSquaredError",
    "Sum",
    "check_loss",
    "per_class",
]
