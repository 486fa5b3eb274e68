"""Pictures: the only room that imports matplotlib.

Functions draw data on an `ax` and return it; figures are the caller's.
"""

from ufm.plotting.charts import (
    COLOURS,
    DASHES,
    MARKERS,
    errors,
    gram,
    hyperparameters,
    png,
    staircase,
    trajectory,
    vectors,
)
from ufm.plotting.mixed_points import channel_width, reliability, three_class_scatter
from ufm.plotting.phases import phase

__all__ = [
    "COLOURS",
    "DASHES",
    "MARKERS",
    "channel_width",
    "errors",
    "gram",
    "hyperparameters",
    "phase",
    "png",
    "reliability",
    "staircase",
    "three_class_scatter",
    "trajectory",
    "vectors",
]
