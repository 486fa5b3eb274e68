"""How long a picture takes to follow a slider, in a JupyterLab that a browser shows.

From the pointer's move to the new picture on the page, at 1366 x 768 pixels; and a drag, whose
events come faster than pictures can be drawn. Left out where there is no browser or no JupyterLab.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks import browser
from tests.benchmarks.harness import Row, Timing

WIDTH, HEIGHT = 1366, 768
# What was promised: a tenth of a second from the pointer to the picture, sliders one can aim at.
PROMISED, LEAST_PIXELS = 0.1, 100
# the slider that is moved: by its description; no value of it compiles
SLIDERS = {"2_geometry_of_imbalance": "λ", "3_mixup_channels": "μ"}

# The slider's track and the picture beside it; from then on the time of each picture.
_WATCH = """
(() => {{
  const named = label => label.textContent.trim() === "{label}";
  const found = [...document.querySelectorAll(".widget-label")].find(named);
  const row = found && found.parentElement;
  const image = document.querySelector(".jupyter-widgets img, img.widget-image");
  if (!row || !image || !image.naturalWidth) return null;
  row.scrollIntoView({{block: "center"}});
  if (!window.pictures) {{
    window.pictures = [];
    window.moves = [];
    image.addEventListener("load", () => pictures.push(performance.now()));
    document.addEventListener("pointermove", () => moves.push(performance.now()), true);
  }}
  const box = part => (({{x, y, width, height}}) => [x, y, width, height])(
    part.getBoundingClientRect());
  const whole = [image.naturalWidth, image.naturalHeight];
  const parts = [row.querySelector(".noUi-base"), row.querySelector(".noUi-handle"), image];
  return [...parts.map(box), whole];
}})()
"""


@dataclass(frozen=True)
class Seen:
    """What a browser showed: seconds of each move, pictures and lateness of a drag, pixels.

    `cut`: the part of the picture that is not shown, for its shape is not that of its place.
    """

    seconds: list[float]
    drag_events: int
    drag_pictures: int
    drag_late: float
    slider: float
    picture: float
    cut: float


def rows(*, repeats: int) -> list[Row]:
    """A row for each notebook with sliders, or none where there is no browser."""
    lacking = browser.missing()
    if lacking:
        print(f"notebooks: left out, as there is no {', no '.join(lacking)}", flush=True)
        return []
    return [_row(name, label, repeats) for name, label in SLIDERS.items()]


def _row(name: str, label: str, repeats: int) -> Row:
    with tempfile.TemporaryDirectory() as scratch:
        seen = look(name, label, Path(scratch), moves=8 * repeats)
    if seen.slider < LEAST_PIXELS:
        raise AssertionError(f"{name}: the slider is squeezed to {seen.slider:.0f} px")
    if seen.cut > 0.02:
        raise AssertionError(f"{name}: {seen.cut:.0%} of the picture is cut off")
    median = statistics.median(seen.seconds)
    notes = {
        "worst s": max(seen.seconds),
        "slider px": seen.slider,
        "picture px": seen.picture,
        "events of a drag": seen.drag_events,
        "its pictures": seen.drag_pictures,
        "the last one after s": seen.drag_late,
    }
    # (the processor time of server, kernel and browser is not this process's)
    times = Timing(median, median), Timing(PROMISED, PROMISED)
    return Row(f"{name}, a slider's move", "a tenth of a second", *times, 1.0, notes=notes)


def look(name: str, label: str, scratch: Path, *, moves: int, shot: Path | None = None) -> Seen:
    """Open a notebook, run it, move and drag its slider.

    `shot`: where the page is kept as a picture.
    """
    folder = scratch / "notebooks"
    folder.mkdir()
    shutil.copy(browser.ROOT / "notebooks" / f"{name}.ipynb", folder)
    with (
        browser.jupyterlab(folder, {"UFM_NOTEBOOK_SIZE": "small"}) as address,
        browser.chromium(scratch / "profile", WIDTH, HEIGHT) as page,
    ):
        page.ask("Page.navigate", url=f"{address}/lab/tree/{name}.ipynb")
        page.wait_for("window.jupyterapp && jupyterapp.restored.then(() => true)")
        panel = '[...jupyterapp.shell.widgets("main")][0]'
        page.wait_for(f"{panel}?.sessionContext?.session?.kernel?.status === 'idle'")
        page.evaluate(f"jupyterapp.shell.activateById({panel}.id)")
        page.evaluate("jupyterapp.commands.execute('notebook:run-all-cells').then(() => true)")
        watch = _WATCH.format(label=label)
        page.wait_for(watch)
        time.sleep(1.0)  # for what is still moving on the page
        track, handle, image, whole = page.evaluate(watch)
        if shot is not None:
            shot.write_bytes(page.picture())
        x, y = (handle[i] + handle[i + 2] / 2 for i in (0, 1))
        ends = track[0] + 0.4 * track[2], track[0] + 0.7 * track[2]
        page.mouse("mousePressed", x, y)
        seconds = _one_by_one(page, y, ends, moves)
        drag = _drag(page, y, ends)
        page.mouse("mouseReleased", ends[1], y)
    shape, wanted = image[2] / image[3], whole[0] / whole[1]
    cut = 1 - min(shape, wanted) / max(shape, wanted)
    return Seen(seconds, *drag, slider=track[2], picture=image[2], cut=cut)


def _one_by_one(page: browser.Page, y: float, ends: tuple[float, float], moves: int) -> list[float]:
    """Seconds from each move to its picture; the first is not counted. From one half of the track
    to the other, as no step of the slider is as short as many moves in a row would be."""
    seconds = []
    for i in range(moves + 1):
        page.evaluate("pictures.length = 0, moves.length = 0")
        page.mouse("mouseMoved", ends[i % 2] + (ends[1] - ends[0]) * i / (4 * moves), y)
        page.wait_for("pictures.length > 0 && moves.length > 0")
        seconds.append(page.evaluate("(pictures[0] - moves[0]) / 1000"))
        time.sleep(0.05)
    return seconds[1:]


def _drag(page: browser.Page, y: float, ends: tuple[float, float]) -> tuple[int, int, float]:
    """Events and pictures of a drag there and back, and the seconds by which the last is late."""
    page.evaluate("pictures.length = 0, moves.length = 0")
    for i in range(60):
        page.mouse("mouseMoved", ends[0] + (ends[1] - ends[0]) * abs(1 - i / 30), y)
    time.sleep(2.0)
    events, pictures = page.evaluate("[moves.length, pictures.length]")
    late = page.evaluate("(pictures[pictures.length - 1] - moves[moves.length - 1]) / 1000")
    return events, pictures, late
