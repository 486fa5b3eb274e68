"""A page of Chromium that is driven through its debugging port, and a JupyterLab to look at."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 120.0
_SETTINGS = {
    # all cells are on the page, seen or not
    "notebook-extension/tracker": {"windowingMode": "none"},
    # nothing is fetched, and nobody is asked
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}


def missing() -> list[str]:
    """What a notebook in a browser needs and this machine lacks."""
    modules = ("jupyterlab", "ipywidgets", "websocket")
    lacking = [name for name in modules if importlib.util.find_spec(name) is None]
    return lacking if any(map(shutil.which, BROWSERS)) else ["chromium", *lacking]


def wait_for(what: str, ask: Callable[[], object]):
    """The first answer that is not empty."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            if answer := ask():
                return answer
        time.sleep(0.1)
    raise TimeoutError(f"{what} did not come in {PATIENCE:.0f} s")


@contextlib.contextmanager
def ended(command: list[str], **settings) -> Iterator[subprocess.Popen]:
    """A process that is ended with the block."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, **quiet, **settings)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def jupyterlab(folder: Path, environment: dict[str, str]) -> Iterator[str]:
    """The address of a JupyterLab of its own settings, which shows the folder."""
    home = folder.parent / "jupyter"
    for name, values in _SETTINGS.items():
        file = home / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values), encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    names = ("JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR")
    own = {name: str(home / name) for name in names}
    own |= {"JUPYTERLAB_SETTINGS_DIR": str(home / "settings"), "JUPYTER_PLATFORM_DIRS": "1"}
    options = [f"--ServerApp.port={port}", "--ServerApp.port_retries=0", "--no-browser"]
    options += ["--IdentityProvider.token=", "--ServerApp.disable_check_xsrf=True", "--allow-root"]
    options += ["--LabApp.expose_app_in_browser=True", f"--ServerApp.root_dir={folder}"]
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    env = {**os.environ, **own, "PYTHONPATH": paths, **environment}
    address = f"http://127.0.0.1:{port}"
    with ended([sys.executable, "-m", "jupyterlab", *options], env=env):
        wait_for("JupyterLab", lambda: urllib.request.urlopen(f"{address}/api").status == 200)
        yield address


class Page:
    """A page of a browser; `evaluate` runs JavaScript in it, `mouse` moves the pointer."""

    def __init__(self, address: str):
        import websocket

        self._socket = websocket.create_connection(address, timeout=PATIENCE)
        self._number = 0

    def close(self) -> None:
        self._socket.close()

    def ask(self, method: str, **parameters) -> dict:
        """A command of the protocol, and its answer."""
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._socket.recv())
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]

    def evaluate(self, script: str):
        """The value of an expression, awaited."""
        options = {"awaitPromise": True, "returnByValue": True}
        answer = self.ask("Runtime.evaluate", expression=script, **options)
        if "exceptionDetails" in answer:
            raise RuntimeError(str(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def wait_for(self, script: str):
        """The first value of the expression that is not empty."""
        return wait_for(script, lambda: self.evaluate(script))

    def mouse(self, kind: str, x: float, y: float) -> None:
        """An event of the left button: mousePressed, mouseMoved or mouseReleased."""
        held = {"button": "left", "buttons": 0 if kind == "mouseReleased" else 1, "clickCount": 1}
        self.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, **held)

    def picture(self) -> bytes:
        """What is seen, as a PNG file."""
        import base64

        return base64.b64decode(self.ask("Page.captureScreenshot", format="png")["data"])


@contextlib.contextmanager
def chromium(profile: Path, width: int, height: int) -> Iterator[Page]:
    """A page of a new browser without a window."""
    command = [str(next(filter(None, map(shutil.which, BROWSERS)))), "--headless=new"]
    command += ["--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-port=0"]
    command += ["--remote-allow-origins=*", f"--user-data-dir={profile}"]
    command += [f"--window-size={width},{height}", "about:blank"]
    port_file = profile / "DevToolsActivePort"
    with ended(command):
        lines = wait_for("the browser", lambda: port_file.exists() and port_file.read_text())
        port = lines.splitlines()[0]

        def address():
            pages = json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list"))
            return next((p["webSocketDebuggerUrl"] for p in pages if p["type"] == "page"), None)

        page = Page(wait_for("a page", address))
        try:
            size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
            page.ask("Emulation.setDeviceMetricsOverride", **size)
            # (JupyterLab's commands are for what has the focus)
            page.ask("Emulation.setFocusEmulationEnabled", enabled=True)
            yield page
        finally:
            page.close()
