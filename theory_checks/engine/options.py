"""The command line of the checks. Nothing heavy is imported until it has been parsed."""

from __future__ import annotations

import argparse
from pathlib import Path

from ufm._system.command import add_version, path_argument, started_as
from ufm._system.completion import add_completion

_OF_THE_TOP = ("-h", "--help", "--version", "--completion")
_COMMANDS = ("run", "report", "figures", "all", "list", "problem")


def parsed(argv: list[str]) -> argparse.Namespace:
    """The options, every one of them whatever the command; without a command `run` is meant."""
    if not argv or (argv[0].startswith("-") and argv[0].partition("=")[0] not in _OF_THE_TOP):
        argv = ["run", *argv]
    return parser().parse_args(argv)


def typed_as() -> str:
    """The command as it was typed, which messages repeat."""
    return started_as("ufm-checks", module="theory_checks")


def _words() -> dict[str, tuple[str, ...]]:
    """The papers, by their folders, which `-k` picks."""
    papers = Path(__file__).parents[1] / "papers"
    found = (path.name for path in papers.iterdir() if (path / "__init__.py").exists())
    return {"-k": tuple(sorted(found))}


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    top = argparse.ArgumentParser(
        prog=typed_as(),
        description="Check published theorems against direct minimisation: a line a theorem.",
        epilog="Without a command, `run` is meant: its options may follow directly. Exit status: 0 "
        "every verdict is what its check expects, 1 another one, or a theorem fails"
        " or was not decided, 2 bad input, 130 interrupted.",
    )
    add_version(top)
    add_completion(top, "ufm-checks", _words)
    # what the commands that lack an option have in its place
    top.set_defaults(
        out=None,
        source=None,
        json=None,
        counterexamples=None,
        full=False,
        prove=False,
        pattern="",
        format="plain",
        names=(),
    )
    commands = top.add_subparsers(
        dest="command", required=True, metavar=f"{{{','.join(_COMMANDS)}}}"
    )
    made = {name: commands.add_parser(name, help=about) for name, about in _ABOUT.items()}
    _add_output(made)
    for name in ("run", "report", "all"):
        made[name].add_argument("--full", action="store_true", help="add the slow cases")
        made[name].add_argument(
            "--prove",
            action="store_true",
            help="enclose every minimum that is certified, and both sides of every refutation, "
            "with all rounding accounted for"
            " (needs the extra ufm[proofs])",
        )
    for name in ("run", "report", "figures", "all"):
        _add_running(made[name])
    for name in ("run", "report", "all", "list"):
        made[name].add_argument(
            "-k",
            action=_Once,
            metavar="PATTERN",
            dest="pattern",
            default="",
            help="only checks in whose key a word begins with PATTERN",
        )
    return top


class _Once(argparse.Action):
    """An option of which a second would silently take the place of the first."""

    def __call__(self, parser, namespace, values, option_string=None):
        if getattr(namespace, self.dest) != self.default:
            parser.error(f"{option_string} may be given once; got {values!r} too")
        setattr(namespace, self.dest, values)


_ABOUT = {
    "run": "run the checks",
    "report": "run the checks and write one page about them, which opens from disk",
    "figures": "run what the figures of the papers show, and draw them",
    "all": "run the checks and what the figures show, each once, and write the page and the "
    "figures",
    "list": "list the checks",
    "problem": "print the problem of a case, for ufm.Problem.from_dict",
}


def _add_output(made: dict[str, argparse.ArgumentParser]) -> None:
    """Where things are written and in which form; folders are made if need be."""
    run, report, figures, everything, listed, problem = (made[name] for name in _COMMANDS)
    problem.add_argument("key", metavar="KEY", help="a check, as `list` names it")
    problem.add_argument(
        "case",
        metavar="CASE",
        nargs="?",
        help="its name, as the report has it (the first case unless given)",
    )
    run.add_argument(
        "--json", metavar="FILE", type=path_argument, help="write the rows to FILE as well"
    )
    run.add_argument(
        "--counterexamples",
        metavar="DIR",
        type=path_argument,
        help="write the point that refutes a theorem to DIR, one .npz file each",
    )
    run.add_argument(
        "--format",
        choices=("plain", "json", "github"),
        default="plain",
        help="plain: for a screen (default); json: the rows and nothing else; github: tables in "
        "Markdown",
    )
    for command, what in (
        (report, "folder of the page, its numbers and the counterexamples"),
        (figures, "folder of the figures, and of the data file beside each"),
        (
            everything,
            "folder of the page, its numbers and the counterexamples, with the figures in a "
            "folder of their own",
        ),
    ):
        command.add_argument("--out", metavar="DIR", required=True, type=path_argument, help=what)
    report.add_argument(
        "--from",
        metavar="FILE",
        dest="source",
        type=path_argument,
        help="run nothing: take the rows that `run --json FILE` wrote",
    )
    figures.add_argument(
        "names",
        metavar="PAPER",
        nargs="*",
        help="papers, or single figures such as ours/phase-diagram (all unless given)",
    )
    for command, whose in ((figures, "files"), (everything, "figures")):
        command.add_argument(
            "--format",
            metavar="LIST",
            default="pdf,png",
            help=f"formats of the {whose}: pdf, png, svg (pdf,png unless given)",
        )
    figures.add_argument(
        "--from",
        metavar="FILE",
        dest="source",
        type=path_argument,
        help="run nothing: take the rows of `run --full --json FILE`, or a figure's own data file",
    )
    listed.add_argument(
        "--format",
        choices=("plain", "json", "github"),
        default="plain",
        help="plain: a line a check (default); json: all that is known of each; github: the "
        "README's table of papers",
    )
    listed.add_argument(
        "--json",
        action="store_const",
        const="json",
        dest="format",
        help="the same as --format json",
    )


def _add_running(command: argparse.ArgumentParser) -> None:
    """How it is run and what the screen shows of it."""
    command.add_argument(
        "--jobs",
        metavar="N",
        type=_jobs,
        help="processes to use (one a core, at most 8, unless given; 1: only this one)",
    )
    command.add_argument(
        "--no-cache", action="store_true", help="keep no compiled programs between runs"
    )
    command.add_argument(
        "-v",
        "--verbose",
        action="store_true",
        help="a line a case, and everything that did not hold",
    )
    command.add_argument(
        "--records",
        action="store_true",
        help="show the short ones of the numbers that figures are made of",
    )


def _jobs(text: str) -> int:
    if not (text.isdecimal() and int(text) >= 1):
        raise argparse.ArgumentTypeError(f"must be a whole number >= 1; got {text!r}")
    return int(text)
