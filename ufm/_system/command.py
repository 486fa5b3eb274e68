"""What the commands share.

Output that any terminal can show, and arguments.
"""

from __future__ import annotations

import argparse
import codecs
import io
import os
import sys
import unicodedata
from collections.abc import Callable

from ufm._system.interrupts import interrupts_heard
from ufm._version import __version__

# What a terminal that has no such character is shown; others lose their accents, or become their
# code.
_WORDS = {
    "−": "-",
    "–": "-",
    "×": "x",
    "≤": "<=",
    "≥": ">=",
    "→": "->",
    "√": "sqrt",
    "‖": "||",
    "⟨": "<",
    "⟩": ">",
    "λ": "lambda",
    "μ": "mu",
    "σ": "sigma",
    "β": "beta",
    "γ": "gamma",
    "ω": "omega",
}
# As a shell reports a program that a closed pipe, or Ctrl-C, has stopped: 128 + SIGPIPE, SIGINT.
_CLOSED_PIPE, _INTERRUPTED = 141, 130


def run(main: Callable[[], int]) -> int:
    """The exit status of a command.

    It prints in any encoding, ends without a word once nobody reads what it prints, and with one
    on Ctrl-C.
    """
    codecs.register_error("ufm.plain", _plainly)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="ufm.plain")
    try:
        try:
            with interrupts_heard():
                return main()
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return _INTERRUPTED
        finally:
            # now, not when the interpreter ends and nothing can be caught any more
            for stream in (sys.stdout, sys.stderr):
                if stream is not None:
                    stream.flush()
    except BrokenPipeError:
        for stream in (sys.stdout, sys.stderr):
            _let_go(stream)
        return _CLOSED_PIPE


def _plainly(error: UnicodeError) -> tuple[str, int]:
    """An error handler of codecs: the characters that cannot be shown, in ASCII."""
    assert isinstance(error, UnicodeEncodeError)
    return "".join(map(_plain, error.object[error.start : error.end])), error.end


def _plain(character: str) -> str:
    simpler = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    if not simpler:
        return _WORDS.get(character) or character.encode("ascii", "backslashreplace").decode()
    raised = unicodedata.decomposition(character).startswith("<super>")
    return f"^{simpler}" if raised else simpler


def _let_go(stream) -> None:
    """Where the reader has gone, send what is still held back nowhere.

    The flush at the interpreter's end would complain.
    """
    try:
        stream.flush()
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def path_argument(text: str) -> str:
    """The name of a file or folder from a command line, refused where it is empty.

    That would be the current folder.
    """
    if not text:
        raise argparse.ArgumentTypeError(
            "must be the name of a file or folder; got '' (is a variable of the shell not set?)"
        )
    return text


def started_as(script: str, *, module: str) -> str:
    """What a user typed to start a command: its `script`, or Python with its `module`."""
    typed = os.path.splitext(os.path.basename(sys.argv[0]))[0]
    return script if typed == script else f"python -m {module}"


def add_version(parser: argparse.ArgumentParser) -> None:
    """Let a command be asked for its version."""
    parser.add_argument("--version", action="version", version=f"ufm {__version__}")
