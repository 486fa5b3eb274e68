"""Each notebook runs from top to bottom in a new kernel, at the small size, with warnings as
errors, and ends with its pictures."""

from __future__ import annotations

import os
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
# pictures as outputs of cells, and pictures that sliders redraw
PICTURES = {
    "1_quick_tour": (3, 0),
    "2_geometry_of_imbalance": (1, 1),
    "3_mixup_channels": (3, 1),
    "4_watch_collapse": (4, 0),
    "5_is_my_theorem_true": (1, 0),
    "6_your_own_network": (1, 0),
    "7_language_model": (1, 0),
    "8_recipes": (1, 1),
}

# what the notebook must have printed, each a claim of its text
PRINTED = {
    "1_quick_tour": ("agrees with the prediction; found: global optimum", "relative gap"),
    "2_geometry_of_imbalance": ("an update takes",),
    "3_mixup_channels": ("agrees with the prediction; found: global optimum", "an update takes"),
    "4_watch_collapse": (),
    "5_is_my_theorem_true": (
        "FAILS mine/large-is-long: ",
        "c = 0.2 (inside the hypotheses): ",
        "1 fails",
        "1 holds",
    ),
    "6_your_own_network": ("lambda_W 0.002,", "global minimum"),
    "7_language_model": ("no model has a loss below", "num_kept", "global minimum"),
    "8_recipes": ("FedETF: predicted and found are", "an update takes"),
}
notebooks = pytest.mark.parametrize(
    "path", [pytest.param(path, id=path.stem) for path in NOTEBOOKS]
)
# a minute each, of which most is compiled
_LONG = ("6_your_own_network", "7_language_model", "8_recipes")


def cells(path: Path, kind: str) -> list:
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == kind]


@pytest.fixture
def environment(tmp_path, monkeypatch) -> dict[str, str]:
    """A kernel that sees this tree, draws into its cells, and leaves nothing in the user's
    folders."""
    # jupyter_core warns where this is not decided
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(name, str(tmp_path / name))
    # the tests' own backend would leave the cells without pictures
    monkeypatch.delenv("MPLBACKEND", raising=False)
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    # half the time of a small run is compilation
    return {
        **os.environ,
        "PYTHONPATH": path,
        "UFM_NOTEBOOK_SIZE": "small",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    }


def executed(path: Path, environment: dict[str, str], folder: Path, *, before: str = ""):
    """The notebook with the outputs of a new kernel that ran it from top to bottom."""
    notebook = nbformat.read(path, as_version=4)
    # only while the notebook's own cells run: the kernel warns of itself when it is shut down
    strict, lenient = (
        f"import warnings\nwarnings.simplefilter('error')\n{LOOK}{before}",
        "warnings.simplefilter('ignore')\nprint('legends on data:', _covered)",
    )
    notebook.cells = [
        nbformat.v4.new_code_cell(strict),
        *notebook.cells,
        nbformat.v4.new_code_cell(lenient),
    ]
    client = NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    client.execute(env=environment)
    return notebook


def printed(cells, name: str) -> str:
    """What cells wrote to stdout or stderr."""
    return "".join(
        o.text
        for cell in cells
        for o in cell.get("outputs", ())
        if o.output_type == "stream" and o.name == name
    )


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=path.stem, marks=[pytest.mark.thorough] * (path.stem in _LONG))
        for path in NOTEBOOKS
    ],
)
def test_it_runs_from_top_to_bottom(path, environment, tmp_path):
    notebook = executed(path, environment, tmp_path)
    assert printed(notebook.cells, "stderr") == ""
    said = printed(notebook.cells, "stdout")
    assert [text for text in PRINTED[path.stem] if text not in said] == []
    assert said.endswith("legends on data: []\n")
    drawn = sum(
        "image/png" in output.get("data", {})
        for cell in notebook.cells
        for output in cell.get("outputs", ())
    )
    widgets = (
        notebook.metadata.get("widgets", {})
        .get("application/vnd.jupyter.widget-state+json", {})
        .get("state", {})
    )
    live = [
        w
        for w in widgets.values()
        if w["model_name"] == "ImageModel"
        and any(len(b["data"]) > 10_000 for b in w.get("buffers", ()))
    ]
    assert (drawn, len(live)) == PICTURES[path.stem]


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, (_, live) in PICTURES.items() if live])
def test_sliders_compile_nothing_and_keep_up(name, environment, tmp_path):
    """At full size: moving a slider waits for no compiler, and an update takes less than a tenth
    of a second, a fifth where it makes ten solves and four panels."""
    environment = {**environment, "UFM_NOTEBOOK_SIZE": "full"}
    path = ROOT / "notebooks" / f"{name}.ipynb"
    notebook = executed(path, environment, tmp_path, before=COMPILED)
    assert WAITED in printed(notebook.cells, "stderr")  # the log is on
    (timed,) = [cell for cell in notebook.cells if "an update takes" in cell.source]
    assert WAITED not in printed([timed], "stderr")
    median = re.search(r"an update takes (\d+) ms in the median", printed([timed], "stdout"))
    assert median is not None
    assert int(median[1]) < (200 if name == "8_recipes" else 100)


# after each cell, before its figures are shown and closed
LOOK = """
def _look():
    import matplotlib.pyplot as plt
    from theory_checks.engine.figures.legibility import covered
    for number in plt.get_fignums():
        canvas = plt.figure(number).canvas
        _covered.extend(covered(canvas.figure))
        canvas.figure.set_canvas(canvas)

_covered = []
get_ipython().events.register("post_execute", _look)
"""

# says where it compiles: what the main thread does is waited for
WAITED = "compiled in MainThread"
COMPILED = """
import sys, threading
import jax

def _heard(event, seconds, **about):
    if event.endswith("backend_compile_duration"):
        print("compiled in", threading.current_thread().name, file=sys.stderr)

jax.monitoring.register_event_duration_secs_listener(_heard)
"""

# the first picture takes until all of the drag has come
DRAG = """
import asyncio, os, time
import ipywidgets
from ufm.plotting import Live

slider, seen = ipywidgets.IntSlider(), []

def draw():
    seen.append(slider.value)
    for _ in range(3000):
        if os.path.exists(os.environ["DRAGGED"]):
            break
        time.sleep(0.01)
    time.sleep(0.3)

slider.observe(Live(draw), names="value")
print(slider.model_id)
"""


AFTERWARDS = """
for _ in range(300):
    await asyncio.sleep(0.1)
    if seen[-1] == 40:
        break
await asyncio.sleep(0.3)
print(len(seen), seen[-1])
"""


def test_a_drag_in_a_kernel_leaves_no_queue(environment, tmp_path):
    """Forty messages, as a browser sends them, which come while a picture is drawn: half of each
    drawing's time takes in three of them even where one takes 50 ms."""
    dragged, cells = tmp_path / "dragged", [DRAG, AFTERWARDS]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    client = NotebookClient(notebook, timeout=60, kernel_name="python3")
    with client.setup_kernel(env=environment | {"DRAGGED": str(dragged)}):
        client.execute_cell(notebook.cells[0], 0)
        model = printed(notebook.cells[:1], "stdout").strip()
        for value in range(1, 41):
            data = {"method": "update", "state": {"value": value}, "buffer_paths": []}
            session, channel = client.kc.session, client.kc.shell_channel
            channel.send(session.msg("comm_msg", {"comm_id": model, "data": data}))
        dragged.touch()
        client.execute_cell(notebook.cells[1], 1)
    drawings, last = map(int, printed(notebook.cells[1:], "stdout").split())
    assert last == 40
    assert drawings <= 15


def test_all_are_tested():
    assert [path.stem for path in NOTEBOOKS] == list(PICTURES) == list(PRINTED)


@notebooks
def test_it_is_stored_without_outputs(path):
    assert [
        cell.id for cell in cells(path, "code") if cell.outputs or cell.execution_count is not None
    ] == []


@notebooks
def test_double_precision_comes_first(path):
    assert (
        cells(path, "code")[0].source
        == 'import jax\n\njax.config.update("jax_enable_x64", True)  # before the first array'
    )


@notebooks
def test_it_asks_questions_and_answers_in_a_sentence(path):
    """The form of all of them: a heading that asks, a picture, a sentence in bold after it."""
    text = [cell.source for cell in cells(path, "markdown")]
    assert sum(source.startswith("## ") for source in text) >= 1
    assert sum(source.startswith("**") for source in text) >= sum(PICTURES[path.stem]) - 1


def test_the_index_names_each_notebook():
    index = (ROOT / "notebooks" / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in NOTEBOOKS if f"({path.name})" not in index] == []
