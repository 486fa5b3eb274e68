"""What a terminal, a pipe and a shell do to the commands: `ufm/_system/command.py`."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from theory_checks import __main__ as theory_checks
from theory_checks.engine import command as theory_checks_command
from ufm import __main__ as ufm_command
from ufm._system import command
from ufm._system.interrupts import import_whole


def environment(tmp_path) -> dict[str, str]:
    return {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), "JAX_PLATFORMS": "cpu"}


@pytest.mark.parametrize("encoding", ["ascii", "cp437"])
@pytest.mark.parametrize(
    ("words", "status", "shown"),
    [
        pytest.param("ufm solve --help", 0, b"W_M ... W_1", id="help"),
        pytest.param("ufm sweep λ.toml --out store", 2, b"lambda.toml", id="error"),
        pytest.param(
            "theory_checks list -k mse-balanced-bias", 0, b"whatever lambda and M", id="statement"
        ),
    ],
)
def test_output_survives_an_encoding_without_its_characters(
    words, status, shown, encoding, tmp_path
):
    """Strict on both streams, as a console or a log may be."""
    narrow = environment(tmp_path) | {"PYTHONIOENCODING": f"{encoding}:strict", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        [sys.executable, "-m", *words.split()], capture_output=True, timeout=120, env=narrow
    )
    assert done.returncode == status
    assert b"Traceback" not in done.stderr
    assert shown in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("character", "shown"),
    [
        pytest.param("λ", "lambda", id="spelled-out"),
        pytest.param("…", "...", id="in-simpler-characters"),
        pytest.param("²", "^2", id="raised"),
        pytest.param("ö", "o", id="without-its-accent"),
        pytest.param("語", "\\u8a9e", id="its-code"),
        pytest.param("\udcff", "\\udcff", id="byte-of-a-file-name"),
    ],
)
def test_characters_in_ascii(character, shown):
    assert command._plain(character) == shown


@pytest.mark.parametrize(
    "words",
    ["ufm solve --help", "theory_checks list -k mse-balanced-bias", "theory_checks run --help"],
)
def test_closed_pipe_ends_a_command_quietly(words, tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    arguments = [sys.executable, "-m", *words.split()]
    done = subprocess.run(
        arguments, stdout=writer, stderr=subprocess.PIPE, timeout=120, env=environment(tmp_path)
    )
    os.close(writer)
    # argparse does not mind that its help is not read
    assert done.returncode in ((0, 141) if "--help" in words else (141,))
    assert done.stderr == b""


def test_closed_pipe_on_standard_error(tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    arguments = [sys.executable, "-m", "ufm", "sweep", "missing.toml", "--out", "store"]
    done = subprocess.run(
        arguments, stdout=subprocess.PIPE, stderr=writer, timeout=120, env=environment(tmp_path)
    )
    os.close(writer)
    assert (done.returncode, done.stdout) == (141, b"")


@pytest.mark.parametrize(
    ("main", "words"),
    [
        pytest.param(ufm_command.main, ["sweep", "spec.toml", "--out", ""], id="store"),
        pytest.param(ufm_command.main, ["sweep", "", "--out", "store"], id="specification"),
        pytest.param(theory_checks.main, ["run", "--json", ""], id="rows"),
        pytest.param(theory_checks.main, ["run", "--counterexamples", ""], id="counterexamples"),
        pytest.param(theory_checks.main, ["report", "--out", ""], id="page"),
        pytest.param(
            theory_checks.main, ["report", "--out", "page", "--from", ""], id="rows-of-a-page"
        ),
        pytest.param(theory_checks.main, ["figures", "--out", ""], id="figures"),
        pytest.param(
            theory_checks.main, ["figures", "--out", "figures", "--from", ""], id="rows-of-figures"
        ),
    ],
)
def test_empty_name_of_a_file_or_folder_is_refused(main, words, tmp_path, monkeypatch, capsys):
    """What a variable of the shell gives that is not set.

    Pathlib would take it for the current folder.
    """
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(words)
    option = words[words.index("") - 1]
    assert stop.value.code == 2
    assert (
        f"argument {option if option.startswith('--') else 'SPEC.toml'}: must be the name of a file"
        in capsys.readouterr().err
    )
    assert not any(tmp_path.iterdir())


class Finalised:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("where", ["callback", "finaliser"])
def test_an_interrupt_that_python_forgets_is_answered(where):
    """JAX has a callback of the garbage collector; what it raised was printed and forgotten, and
    the command ran on."""
    struck = []

    def strike(phase, info):
        if not struck:
            struck.append(phase)
            signal.raise_signal(signal.SIGINT)

    def main():
        if where == "callback":
            gc.callbacks.append(strike)
            gc.collect(0)
        else:
            Finalised()
        time.sleep(30)

    began, hook = time.monotonic(), sys.unraisablehook
    try:
        assert command.run(main) == 130
    finally:
        if strike in gc.callbacks:
            gc.callbacks.remove(strike)
    assert time.monotonic() - began < 20
    assert sys.unraisablehook is hook
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interrupt_that_python_forgets_is_answered_beside_busy_threads():
    """Which were let run by what was to strike again, until it struck too soon."""
    done = threading.Event()

    def busy():
        while not done.is_set():
            sum(range(1000))

    threads = [threading.Thread(target=busy) for _ in range(4)]

    def main():
        Finalised()
        time.sleep(1)
        return 0

    try:
        for thread in threads:
            thread.start()
        assert [command.run(main) for _ in range(5)] == 5 * [130]
    finally:
        done.set()
        for thread in threads:
            thread.join()


def test_an_interrupt_amid_an_import_waits_for_its_end(tmp_path, monkeypatch):
    lines = "import signal", "signal.raise_signal(signal.SIGINT)", "end = True"
    (tmp_path / "slow_extension.py").write_text("\n".join(lines), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        import_whole("slow_extension")
    assert sys.modules.pop("slow_extension").end


@pytest.mark.parametrize(
    ("tool", "words"),
    [
        pytest.param(ufm_command, "solve --class-counts 2x2 --lambda-W 1 --lambda-H 1", id="ufm"),
        pytest.param(theory_checks_command, "list", id="theory_checks"),
    ],
)
def test_commands_import_extensions_whole(tool, words, monkeypatch):
    def interrupted(name):
        raise KeyboardInterrupt

    monkeypatch.setattr(tool, "import_whole", interrupted)
    assert command.run(lambda: tool.main(words.split())) == 130
