"""The one style of all figures.

Sizes in inches of a conference's column, embedded fonts, colours that survive a photocopier.

The only module here that imports matplotlib. Nothing global is touched: figures are drawn and saved
inside `applied`, without pyplot.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from ufm import plotting

__all__ = [
    "COLOURS",
    "COLUMN",
    "DASHES",
    "EPS",
    "FORMATS",
    "MARKERS",
    "REFERENCE",
    "TEXT",
    "Axes",
    "Bbox",
    "Figure",
    "FigureCanvasAgg",
    "Line2D",
    "Text",
    "applied",
    "canvas",
    "encoded",
    "letter",
    "plotting",
]

# inches: one of two columns (ICML), and the width of the text (NeurIPS, ICLR)
COLUMN, TEXT = 3.25, 5.5
COLOURS, DASHES, MARKERS = plotting.COLOURS, plotting.DASHES, plotting.MARKERS
EPS = float(np.finfo(np.float64).eps)
# lines that say where something is, such as machine precision
REFERENCE: dict[str, Any] = {"color": "0.45", "linewidth": 0.8, "linestyle": ":"}
FORMATS = ("pdf", "png", "svg")

_SETTINGS: dict[Any, Any] = {
    # TrueType: publishers refuse the Type 3 fonts that are the default
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
    "svg.fonttype": "path",
    # ids in an SVG are random unless salted
    "svg.hashsalt": "ufm",
    # Times-like, for text and mathematics, and it comes with matplotlib
    "font.family": "STIXGeneral",
    "mathtext.fontset": "stix",
    "font.size": 8.0,
    "axes.labelsize": 8.0,
    "axes.titlesize": 8.0,
    "xtick.labelsize": 7.0,
    "ytick.labelsize": 7.0,
    "legend.fontsize": 7.0,
    "legend.frameon": False,
    "legend.handlelength": plotting.HANDLE_LENGTH,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "0.92",
    "grid.linewidth": 0.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.5,
    "figure.dpi": 100,
    "savefig.dpi": 300,
}


def applied():
    """The style as a context, in which figures are drawn and saved."""
    return matplotlib.rc_context(_SETTINGS)


def canvas(
    rows: int = 1, columns: int = 1, *, width: float = TEXT, height: float, **options
) -> tuple[Figure, np.ndarray]:
    """A figure of this size in inches with a grid of axes (rows, columns).

    `options` as for `Figure.subplots`.
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def encoded(figure: Figure, kind: str, *, title: str, caption: str) -> bytes:
    """The figure as the bytes of a file of this format, the same ones for the same data.

    Title and caption are in the file's metadata.
    """
    metadata: Mapping[str, dict] = {
        # a date of creation would make every file a new one
        "pdf": {"Title": title, "Subject": caption, "CreationDate": None, "ModDate": None},
        "svg": {"Title": title, "Description": caption, "Date": None},
        "png": {"Title": title, "Description": caption},
    }
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, metadata=metadata[kind])
    return buffer.getvalue()


def letter(axes: Sequence[Axes] | np.ndarray) -> None:
    """(a), (b), … before the title of each panel."""
    for i, ax in enumerate(np.ravel(np.asarray(axes, dtype=object))):
        ax.set_title(f"({chr(ord('a') + i)}) {ax.get_title()}", loc="left")
        ax.set_title("")
