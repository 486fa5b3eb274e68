"""The notebooks as pages: run from top to bottom, and stored with the pictures that they drew.

What sliders redraw lives in the state of a widget, which a page without a kernel cannot show: its
picture at the end of the run takes the place of the controls.
"""

from __future__ import annotations

import base64
import os
from pathlib import Path

import nbformat
from nbclient import NotebookClient

_VIEW = "application/vnd.jupyter.widget-view+json"
_STATE = "application/vnd.jupyter.widget-state+json"
_SLIDERS = "The sliders of this picture move when the notebook runs: `jupyter lab notebooks`."


def store(source: Path, target: Path, *, root: Path) -> int:
    """Run the notebook `source` and write it with its outputs; the number of its pictures.

    Raises `nbclient.exceptions.CellExecutionError` where a cell does.
    """
    notebook = nbformat.read(source, as_version=4)
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(root), before]))
    os.environ.pop("MPLBACKEND", None)
    # a kernel's word on its own connection is none on the notebook
    quiet = ["--IPKernelApp.log_level=ERROR"]
    place = {"metadata": {"path": source.parent}}
    client = NotebookClient(notebook, timeout=1200, resources=place, extra_arguments=quiet)
    client.execute()
    models = notebook.metadata.get("widgets", {}).get(_STATE, {}).get("state", {})
    pictures = 0
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        outputs = []
        for output in cell.outputs:
            data = output.get("data", {})
            if _VIEW in data:
                found = list(_pictures(models, data[_VIEW]["model_id"]))
                outputs += [
                    nbformat.v4.new_output("display_data", data={"image/png": png}) for png in found
                ]
                if found:
                    plain = {"text/plain": _SLIDERS}
                    outputs.append(nbformat.v4.new_output("display_data", data=plain))
            else:
                outputs.append(output)
        cell.outputs = outputs
        pictures += sum("image/png" in output.get("data", {}) for output in outputs)
    notebook.metadata.pop("widgets", None)
    target.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, target)
    return pictures


def _pictures(models: dict, number: str):
    """The pictures in a widget and in its children, as base64."""
    model = models.get(number, {})
    state = model.get("state", {})
    for buffer in model.get("buffers", ()):
        if buffer["path"] == ["value"] and model["model_name"] == "ImageModel":
            data = base64.b64decode(buffer["data"])
            yield base64.b64encode(data).decode()
    for child in state.get("children", ()):
        yield from _pictures(models, child.removeprefix("IPY_MODEL_"))
