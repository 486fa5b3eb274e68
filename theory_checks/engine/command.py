"""The command line: run the checks and print one table a paper. Exit status 1 if anything fails, 130 after Ctrl-C."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import os
import shlex
import sys

from ufm._command import path_argument


def parser() -> argparse.ArgumentParser:
    """The command line. Nothing heavy is imported until it has been parsed."""
    top = argparse.ArgumentParser(
        prog="python -m theory_checks",
        description="Check published theorems against direct minimisation: one table a paper.",
        epilog="Without a command, `run` is meant: its options may follow directly.",
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="{run,report,figures,list}")
    run = commands.add_parser("run", help="run the checks")
    run.add_argument("--json", metavar="FILE", type=path_argument, help="write the rows to FILE as well")
    run.add_argument(
        "--counterexamples", metavar="DIR", type=path_argument, help="write the point that refutes a theorem to DIR, one .npz file each"
    )
    run.set_defaults(out=None, source=None)
    reported = commands.add_parser("report", help="run the checks and write one page about them, which opens from disk")
    reported.add_argument(
        "--out", metavar="DIR", required=True, type=path_argument, help="folder of the page, its numbers and the counterexamples"
    )
    reported.add_argument(
        "--from", metavar="FILE", dest="source", type=path_argument, help="run nothing: take the rows that `run --json FILE` wrote"
    )
    reported.set_defaults(json=None, counterexamples=None)
    drawn = commands.add_parser("figures", help="run what the figures of the papers show, and draw them")
    drawn.add_argument("names", metavar="PAPER", nargs="*", help="papers, or single figures such as ours/phase-diagram (all unless given)")
    drawn.add_argument(
        "--out", metavar="DIR", required=True, type=path_argument, help="folder of the figures, and of the data file beside each"
    )
    drawn.add_argument("--format", metavar="LIST", default="pdf,png", help="formats of the files: pdf, png, svg (pdf,png unless given)")
    drawn.add_argument(
        "--from",
        metavar="FILE",
        dest="source",
        type=path_argument,
        help="run nothing: take the rows of `run --full --json FILE`, or a figure's own data file",
    )
    drawn.set_defaults(json=None, counterexamples=None, full=False, pattern="")
    for command in (run, reported):
        command.add_argument("--full", action="store_true", help="add the slow cases")
    for command in (run, reported, drawn):
        command.add_argument(
            "--jobs", metavar="N", type=_jobs, help="processes to use (one a core, at most 8, unless given; 1: only this one)"
        )
        command.add_argument("--no-cache", action="store_true", help="keep no compiled programs between runs")
    listed = commands.add_parser("list", help="list the checks")
    listed.add_argument(
        "--format", choices=("plain", "github"), default="plain", help="plain: a line a check; github: the README's table of papers"
    )
    listed.set_defaults(source=None)
    for command in (run, reported, listed):
        command.add_argument("-k", metavar="PATTERN", dest="pattern", default="", help="only checks whose key contains PATTERN")
    return top


def _jobs(text: str) -> int:
    if not (text.isdecimal() and int(text) >= 1):
        raise argparse.ArgumentTypeError(f"must be a whole number >= 1; got {text!r}")
    return int(text)


def main(argv: list[str] | None = None, *, registry=None) -> int:
    """Run the command line on all checks, or on those of another registry, and return its exit status."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or (argv[0].startswith("-") and argv[0] not in ("-h", "--help")):
        argv = ["run", *argv]
    options = parser().parse_args(argv)
    # several threads turned small factorisations a hundred times slower; NumPy reads this once, when it is first imported
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if options.command == "figures":
        from theory_checks.engine.figures.command import problem_with

        if problem := problem_with(options):
            print(problem, file=sys.stderr)
            return 2
    if options.source is not None:
        return _rendered_again(options)
    options.typed = shlex.join(["python", "-m", "theory_checks", *argv])
    configure = None
    if options.command != "list":
        configure = functools.partial(configure_jax, cache=not options.no_cache, quick=options.command != "figures" and not options.full)
        configure()
    if registry is None:
        registry = _registry(options)

    checks = registry.matching(options.pattern)
    if not checks:
        print(f"no check matches {options.pattern!r}; see: python -m theory_checks list", file=sys.stderr)
        return 2
    if options.command == "list":
        from theory_checks.engine import report

        print(report.listing(checks) if options.format == "plain" else report.table_of_papers(checks, registry.papers))
        return 0
    return _run(registry, checks, options, configure=configure)


def _registry(options: argparse.Namespace):
    """All checks, or those that the figures need."""
    if options.command == "figures":
        from theory_checks.engine.figures import registry_for

        return registry_for(options.names)
    from theory_checks.engine.registry import load

    return load()


def _run(registry, checks, options: argparse.Namespace, *, configure) -> int:
    from theory_checks.engine import report, runner, workers
    from ufm._progress import Progress

    full, json_path, folder = options.full, options.json, options.counterexamples
    if options.out is not None and not _is_folder(options.out):
        return 2

    if json_path is not None and not os.path.isdir(os.path.dirname(os.path.abspath(json_path))):
        print(f"--json {json_path}: the folder does not exist", file=sys.stderr)
        return 2
    if folder is not None and not os.path.isdir(folder):
        print(f"--counterexamples {folder}: the folder does not exist", file=sys.stderr)
        return 2
    plan = runner.planned(checks, full=full)
    if not plan:
        print("every case that matches is slow: add --full", file=sys.stderr)
        return 2
    progress = Progress("cases", total=len(plan), patience=0.0, left="about")

    def on_case(done, total, check, case):
        progress.update(done, f"{check.key}: {case.id}")

    jobs = min(options.jobs or workers.default_jobs(), len({check.key for check, _ in plan}))
    if jobs == 1 or registry.loader is None:
        run = runner.run(checks, full=full, on_case=on_case)
    else:
        run = workers.run(checks, jobs=jobs, configure=configure, loader=registry.loader, full=full, on_case=on_case)
    rows, finished = [], False
    try:
        for row in run:
            rows.append(row)
        finished = True
    except KeyboardInterrupt:
        pass
    finally:
        # ends the processes of the run
        run.close()
        progress.close()
    rows = runner.in_order(rows, checks)
    # before anything is printed: a pipe that nobody reads any more must not cost the numbers
    if json_path is not None:
        report.write_json(json_path, report.as_document(rows, registry.papers, finished=finished))
    complete = True
    if options.command == "figures":
        from theory_checks.engine.figures import command

        # the records are what the figures show
        print(report.tables([dataclasses.replace(row, records=()) for row in rows], registry.papers))
        complete = command.draw(options, rows)
    else:
        print(report.tables(rows, registry.papers))
    if folder is not None:
        written = report.write_counterexamples(folder, rows)
        print("\n".join(["counterexamples:", *(f"  {path}" for path in written)] if written else ["no counterexamples"]))
    if options.command == "report" and options.out is not None:
        from theory_checks.engine import html_report

        print("\n".join(html_report.write(options.out, rows, registry.papers, finished=finished, command=options.typed)))
    if not finished:
        print(f"interrupted: {len(rows)} of {len(plan)} cases done", file=sys.stderr)
        return 130
    return 0 if complete and all(row.verdict.ok for row in rows) else 1


def _rendered_again(options: argparse.Namespace) -> int:
    """The page, or the figures, of rows that an earlier run wrote."""
    if options.pattern or options.full:
        print("--from takes all rows of its file: -k and --full choose what is run", file=sys.stderr)
        return 2
    from theory_checks.engine import html_report, report

    if options.command == "figures" and options.source.endswith(".npz"):
        from theory_checks.engine.figures import command

        return command.redraw(options)
    try:
        document = report.read_json(options.source)
    except (OSError, ValueError) as error:
        print(f"--from {options.source}: {error}", file=sys.stderr)
        return 2
    if not _is_folder(options.out):
        return 2
    if options.command == "figures":
        from theory_checks.engine.figures import command

        return 0 if command.draw(options, document["rows"]) else 1
    print("\n".join(html_report.write_document(options.out, document)))
    return 0


def _is_folder(path: str) -> bool:
    """Make the folder if need be, before anything is run; say so where it cannot be made."""
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        print(f"--out {path}: {error.strerror}", file=sys.stderr)
        return False
    return True


def configure_jax(*, cache: bool, quick: bool) -> None:
    """Float64, and compiled programs kept between runs where the user's cache folder can be written."""
    import jax

    # three quarters of a quick run is compilation of small programs: less optimisation makes it a fifth shorter
    jax.config.update("jax_disable_most_optimizations", quick)

    jax.config.update("jax_enable_x64", True)
    if cache:
        from ufm._command import keep_compiled_programs

        keep_compiled_programs()
