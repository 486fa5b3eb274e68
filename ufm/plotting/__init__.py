"""Pictures: the only room that imports matplotlib.

Functions draw data on an `ax` and return it; figures are the caller's.
"""

from ufm.plotting.charts import errors, trajectory
from ufm.plotting.keys import HANDLE_LENGTH
from ufm.plotting.live import Live
from ufm.plotting.matrices import gram
from ufm.plotting.mixed_points import channel_width, reliability, three_class_scatter
from ufm.plotting.perturbation import hyperparameters, staircase
from ufm.plotting.phases import phase
from ufm.plotting.redraw import png
from ufm.plotting.spatial import vectors
from ufm.plotting.style import COLOURS, DASHES, MARKERS, legend_above

__all__ = [
    "COLOURS",
    "DASHES",
    "HANDLE_LENGTH",
    "MARKERS",
    "Live",
    "channel_width",
    "errors",
    "gram",
    "hyperparameters",
    "legend_above",
    "phase",
    "png",
    "reliability",
    "staircase",
    "three_class_scatter",
    "trajectory",
    "vectors",
]
