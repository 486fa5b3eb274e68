"""Vectors in space, on the `ax` of the caller."""

from __future__ import annotations

from collections.abc import Mapping
from weakref import WeakKeyDictionary

import numpy as np
from matplotlib.lines import Line2D
from mpl_toolkits.mplot3d.axes3d import Axes3D

from ufm._validate import Shown, require, require_each, require_finite, require_instance
from ufm.frames import simplex_etf
from ufm.plotting.artists import Artists
from ufm.plotting.keys import fitted, make_room_below
from ufm.plotting.style import COLOURS, DASHES, MARKERS

# Elevation, azimuth and roll, in degrees, of axes that nobody has turned.
_UNTURNED = (30.0, -60.0, 0.0)
# From where they are seen, but for half a degree: few planes that one writes down hold this
# direction.
_FROM = (30.0, -60.5)
# Squares of singular values below this part of the largest are those of nothing.
_FLAT = 1e-6
# How far beyond its tip the number of a class stands, in units of the longest vector.
_BEYOND = 0.2
# Vectors that differ by less have become one, in the same units, and numbers nearer would overlap.
_APART = 0.1
_TURNED: WeakKeyDictionary[Axes3D, tuple[float, float, float]] = WeakKeyDictionary()


def vectors(
    ax: Axes3D,
    families: Mapping[str, np.ndarray],
    *,
    samples: Mapping[str, tuple] | None = None,
    floor=0.0,
    align=True,
    live=False,
) -> Axes3D:
    """Classifier rows, class means and the like as arrows in space.

    A colour and a number for each class, a dash for each family.

    Parameters
    ----------
    ax
        Made with `projection="3d"`.
    families
        Label → vectors (d, K), one column a class, for all of one d and K.
    samples
        Label → (features (d, C), class of each column (C,)), drawn as dots.
    floor
        A family no longer than this is drawn as zero.
    align
        Turn (and mirror) the picture as close as it goes to a fixed simplex, so that it does not
        jump from one solution to the next: nothing else than this is arbitrary in it. Without, the
        first three coordinates of d <= 3 are as they are.
    live
        Move what the last live call has drawn on `ax`, as in `trajectory`.

    Returns
    -------
    Axes3D
        The same.

    Raises
    ------
    ValueError
        For shapes that disagree, no vectors, entries that are not finite, and flat axes.

    Notes
    -----
    Lengths are in units of the longest vector of their own family, or of the family whose label the
    samples share, since $(aW, H/a)$ are the same logits. For d > 3 the picture is the projection on
    the three leading directions of all families together, and the title of the legend says what
    part of all squared lengths lies in others. Classes share a number where all their vectors agree
    in R^d.

    Axes that nobody has turned (`ax.view_init`, or a mouse) are seen from where vectors are the
    less shortened the longer they are: along the normal of the plane where they lie in one, from
    the usual place where no direction is longer than another. A live call looks anew.
    """
    require_instance("ax", ax, Axes3D, 'axes made with `projection="3d"`')
    arrays, dots, K = _checked(families, samples or {})
    units = {
        label: _longest(array, floor)
        for label, array in ({label: c for label, (c, _) in dots.items()} | arrays).items()
    }
    arrays = {label: array / units[label] for label, array in arrays.items()}
    dots = {label: (columns / units[label], index) for label, (columns, index) in dots.items()}
    view = _view(np.concatenate(list(arrays.values()), axis=1), K, align=align)

    artists = Artists(ax, live=live)
    _dots(artists, {label: (view @ columns, index) for label, (columns, index) in dots.items()})
    drawn = {label: view @ array for label, array in arrays.items()}
    keys = [_arrows(artists, i, label, array) for i, (label, array) in enumerate(drawn.items())]
    if not artists.again:
        _sphere(ax)
    _look_at(ax, np.concatenate(list(drawn.values()), axis=1))
    _number_classes(artists, ax, list(arrays.values()), list(drawn.values()))
    artists.finish()
    # the classes' colours would be the first sample's alone in the legend
    of_samples = [
        handle
        for handle, name in zip(*ax.get_legend_handles_labels(), strict=True)
        if name in dots and name not in arrays
    ]
    # below the axes: tips may be anywhere in them
    place = {"loc": "upper center", "bbox_to_anchor": (0.5, 0), "borderaxespad": 0}
    handles = [*of_samples, *keys]
    names = [str(handle.get_label()) for handle in handles]
    look = fitted(ax, names, title=_left_out(arrays, drawn))
    artists.legend(handles, **look, **place)
    make_room_below(ax)
    return ax


def _checked(
    families: Mapping[str, np.ndarray], samples: Mapping[str, tuple]
) -> tuple[dict[str, np.ndarray], dict[str, tuple[np.ndarray, np.ndarray]], int]:
    """Families and samples as arrays of shapes that agree, and K; `ValueError` otherwise."""
    for name, given in (("families", families), ("samples", samples)):
        require_instance(name, given, Mapping, "a mapping from labels")
    for label, columns in families.items():
        require_finite(f"families[{label!r}]", columns, ndim=2)
    for label, pair in samples.items():
        words = f"`samples[{label!r}]` must be features and the class of each"
        require(isinstance(pair, tuple | list) and len(pair) == 2, words, Shown(pair))
        require_finite(f"samples[{label!r}][0]", pair[0], ndim=2)
        require_each(f"samples[{label!r}][1]", pair[1], lambda k: k >= 0, "be classes", ndim=1)
    arrays = {label: np.asarray(columns, dtype=float) for label, columns in families.items()}
    dots = {
        label: (np.asarray(columns, dtype=float), np.asarray(index))
        for label, (columns, index) in samples.items()
    }
    shapes = {array.shape for array in arrays.values()}
    require(
        len(shapes) == 1,
        "`families` must hold matrices (d, K) of one shape",
        shapes or Shown(families),
    )
    ((d, K),) = shapes
    for label, (columns, index) in dots.items():
        require(
            len(columns) == d,
            f"`samples[{label!r}]` must have features (d, C), d = {d}",
            columns.shape,
        )
        require(
            index.shape == columns.shape[1:],
            f"`samples[{label!r}]` must have one class for each column",
            index.shape,
        )
    return arrays, dots, K


def _dots(artists: Artists, samples: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> None:
    """Samples (3, C) in the colours of their classes (C,)."""
    for label, (columns, index) in samples.items():
        artists.dots(
            f"samples {label}",
            *columns,
            c=[COLOURS[k % len(COLOURS)] for k in index],
            s=9,
            alpha=0.6,
            linewidths=0,
            label=label,
            depthshade=False,
        )


def _arrows(artists: Artists, i: int, label: str, array: np.ndarray) -> Line2D:
    """The vectors (3, K) of the i-th family from the origin to their marks; its legend's key."""
    marker, dash = MARKERS[i % len(MARKERS)], DASHES[i % len(DASHES)]
    for k, (x, y, z) in enumerate(array.T):
        colour = COLOURS[k % len(COLOURS)]
        artists.line(
            f"{label} {k}",
            *((0, x), (0, y), (0, z)),
            color=colour,
            linestyle=dash,
            linewidth=max(2.2 - 0.5 * i, 0.7),
        )
        # the mark is hollow but for the first family, so that two tips in one place are both seen
        artists.line(
            f"{label} {k} tip",
            *((x,), (y,), (z,)),
            color=colour,
            marker=marker,
            markersize=6 + 4 * i,
            markerfacecolor=colour if i == 0 else "none",
        )
    return artists.line(
        f"{label} key",
        *((), (), ()),
        color="0.3",
        linestyle=dash,
        marker=marker,
        markerfacecolor="0.3" if i == 0 else "none",
        label=label,
    )


def _sphere(ax: Axes3D) -> None:
    """Three great circles of the unit sphere, which tell near from far, in place of axes."""
    angle = np.linspace(0, 2 * np.pi, 61)
    cos, sin, zero = np.cos(angle), np.sin(angle), np.zeros_like(angle)
    for circle in ((cos, sin, zero), (zero, cos, sin), (sin, zero, cos)):
        ax.plot(*circle, color="0.85", linewidth=0.6, zorder=0)
    # (numbers beyond the tips stay below a title)
    ax.set(xlim=(-0.75, 0.75), ylim=(-0.75, 0.75), zlim=(-0.75, 0.75))
    ax.set_box_aspect((1, 1, 1))
    ax.set_axis_off()


def _look_at(ax: Axes3D, tips: np.ndarray) -> None:
    """Turn axes that nobody else has turned to see tips (3, n) from a side on which they are long.

    The direction is (T + εI)⁻¹ c for the usual one, c, and T = Σ t tᵀ over its largest eigenvalue:
    it moves with the tips without a jump, into the normal of a plane and back.
    """
    now = (ax.elev, ax.azim, ax.roll)
    if now != _TURNED.get(ax, _UNTURNED):
        return
    values, axes = np.linalg.eigh(tips @ tips.T)
    parts = (values / values[-1] if values[-1] > 0 else np.ones(3)) + _FLAT
    x, y, z = axes @ ((axes.T @ _direction(*_FROM)) / parts)
    elev, azim = np.rad2deg([np.arctan2(z, np.hypot(x, y)), np.arctan2(y, x)])
    if elev > 89:
        # from above the first axis points to the right, as in the plane
        elev, azim = 90.0, -90.0
    ax.view_init(elev=float(elev), azim=float(azim))
    _TURNED[ax] = (ax.elev, ax.azim, ax.roll)


def _longest(array: np.ndarray, floor: float) -> float:
    """Length of the longest column, or infinity where that is no more than `floor`."""
    length = float(np.max(np.linalg.norm(array, axis=0), initial=0.0))
    return length if length > floor else np.inf


def _left_out(arrays: dict[str, np.ndarray], drawn: dict[str, np.ndarray]) -> str:
    """Which part of the squared lengths lies in directions that are not drawn, in words."""
    whole, seen = (sum(float(np.sum(a**2)) for a in of.values()) for of in (arrays, drawn))
    part = 1 - seen / whole if whole > 0 else 0.0
    return f"{part:.0%} of the energy is not shown" if part >= 0.005 else ""


def _number_classes(
    artists: Artists, ax: Axes3D, whole: list[np.ndarray], families: list[np.ndarray]
) -> None:
    """The number of each class, beyond the tip of its that is seen farthest from the origin.

    Classes that have become one, in the `whole` space, share a number; others stand apart.
    """
    towards = _direction(ax.elev, ax.azim)
    seen = np.eye(3) - np.outer(towards, towards)
    upwards = seen @ _direction(ax.elev + 90, ax.azim)
    places: list[tuple[np.ndarray, list[int]]] = []
    for k in range(families[0].shape[1]):
        tip = max((family[:, k] for family in families), key=lambda tip: np.linalg.norm(seen @ tip))
        length = np.linalg.norm(seen @ tip)
        # (as far off on paper for a tip that points at the reader as for any other)
        away = seen @ tip / length if length > 0.01 else upwards
        place = tip + _BEYOND * away
        one = [
            classes
            for _, classes in places
            if all(np.linalg.norm(a[:, k] - a[:, classes[0]]) < _APART for a in whole)
        ]
        if one:
            one[0].append(k)
            continue
        while any(np.linalg.norm(other - place) < _APART for other, _ in places):
            place = place + 1.5 * _APART * away
        places.append((place, [k]))
    for place, classes in places:
        # (the arrow of the last lies on those of the others)
        names, colour = ", ".join(str(k) for k in classes), COLOURS[classes[-1] % len(COLOURS)]
        name = f"number {classes[0]}"
        artists.words(name, tuple(place), names, color=colour, ha="center", va="center")


def _direction(elevation: float, azimuth: float) -> np.ndarray:
    """The unit vector (3,) of two angles in degrees."""
    elevation, azimuth = np.deg2rad((elevation, azimuth))
    level = np.cos(elevation)
    return np.array([level * np.cos(azimuth), level * np.sin(azimuth), np.sin(elevation)])


def _view(columns: np.ndarray, num_classes: int, *, align: bool) -> np.ndarray:
    """(3, d): from R^d to the space that is drawn."""
    d = len(columns)
    if d <= 3 and not align:
        return np.eye(3, d)
    basis = np.eye(d) if d <= 3 else np.linalg.svd(columns, full_matrices=False)[0][:, :3].T
    flat = np.pad(basis, ((0, 3 - len(basis)), (0, 0)))
    if not align:
        return flat
    # for three classes the axes, which are as good for an orthogonal frame as for a simplex
    reference = (
        np.eye(3)
        if num_classes == 3
        else np.asarray(simplex_etf(num_classes, dim=max(num_classes - 1, 3)))[:3]
    )
    left, _, right = np.linalg.svd(
        np.tile(reference, columns.shape[1] // num_classes) @ (flat @ columns).T
    )
    return left @ right @ flat
