"""The command: run the checks, print a line a theorem, write what was asked for.

Exit status 1 if anything fails or a verdict is not the expected one, 2 where what was asked for
cannot be run or written, 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import functools
import os
import shlex
import sys
from collections.abc import Sequence

from theory_checks.engine.options import parsed, typed_as
from ufm._system.interrupts import import_whole


def main(argv: list[str] | None = None, *, registry=None) -> int:
    """Run the command line on all checks, or on those of another registry, and return its exit
    status."""
    argv = list(sys.argv[1:] if argv is None else argv)
    options = parsed(argv)
    # several threads turned small factorisations a hundred times slower; NumPy reads this once,
    # when it is first imported
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    import_whole("numpy" if options.command == "list" else "jax")
    if options.command in ("figures", "all"):
        from theory_checks.engine.figures.command import problem_with

        if problem := problem_with(options):
            print(problem, file=sys.stderr)
            return 2
    if options.command in ("report", "all"):
        from theory_checks.engine.results import without_typesetting

        if problem := without_typesetting():
            print(f"{options.command}: {problem}", file=sys.stderr)
            return 2
    if options.source is not None:
        return _rendered_again(options)
    options.typed = f"{typed_as()} {shlex.join(argv)}".rstrip()
    configure = None
    if options.command == "problem":
        return _problem(registry, options)
    if options.command != "list":
        quick = options.command in ("run", "report") and not options.full
        configure = functools.partial(configure_jax, cache=not options.no_cache, quick=quick)
        configure()
    if registry is None:
        from theory_checks.engine.catalogue import load

        registry = load()
    checks = registry.matching(options.pattern)
    if not checks:
        print(
            f"no check matches {options.pattern!r}; see: {typed_as()} list",
            file=sys.stderr,
        )
        return 2
    if options.command == "list":
        from theory_checks.engine import listing

        print(listing.shown(checks, registry.papers, form=options.format))
        return 0
    return _run(registry, checks, options, configure=configure)


def _problem(registry, options: argparse.Namespace) -> int:
    """The problem of a case, in double precision as every check solves it."""
    from theory_checks.engine import rebuild

    configure_jax(cache=True, quick=True)
    if registry is None:
        from theory_checks.engine.catalogue import load

        registry = load()
    try:
        print(rebuild.shown(registry, options.key, options.case))
    except ValueError as error:
        print(f"problem: {error}", file=sys.stderr)
        return 2
    return 0


def _run(registry, checks, options: argparse.Namespace, *, configure) -> int:
    from theory_checks.engine import printing, proofs, results, runner
    from theory_checks.engine.summary import by_theorem

    checks, full = _chosen(checks, options)
    checks, options.absent = proofs.possible(checks)
    if not checks and options.absent:
        print(proofs.left_out(options.absent), file=sys.stderr)
        return 2
    plan = runner.planned(checks, full=full)
    if not plan:
        print("every case that matches is slow: add --full", file=sys.stderr)
        return 2
    if problem := results.without_place(options):
        print(problem, file=sys.stderr)
        return 2
    if options.prove and (problem := proofs.without_library()):
        print(f"--prove: {problem}", file=sys.stderr)
        return 2
    look = printing.look_of(
        sys.stdout, verbose=options.verbose, records=options.records, prove=options.prove
    )
    # of the others it is the format of files
    form = options.format if options.command in ("run", "list") else "plain"
    printer = printing.Printer(plan, registry.papers, look, form=form)
    rows, finished, run = _carried_out(
        registry, checks, plan, printer, options, full=full, configure=configure
    )
    rows = runner.in_order(rows, checks)
    # before the last words: a pipe that nobody reads any more must not cost the numbers
    try:
        written = results.write(options, rows, registry.papers, finished=finished, run=run)
    except BaseException as error:
        # what was found is told all the same
        printer.close(rows, run=run, hints=_hints(options, rows, checks))
        if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
            print(f"not all was written: {error}", file=sys.stderr)
            return 2
        raise
    printer.close(rows, run=run, hints=[*written.lines, *_hints(options, rows, checks)])
    if printer.gone:
        raise BrokenPipeError
    if form == "json":
        print(written.text, end="")
    for line in written.lacking:
        print(line, file=sys.stderr)
    if options.absent:
        print(proofs.left_out(options.absent), file=sys.stderr)
    if not finished:
        print(f"interrupted: {len(rows)} of {len(plan)} cases done", file=sys.stderr)
        return 130
    as_expected = all(theorem.as_expected for theorem in by_theorem(rows))
    good = as_expected and not written.lacking and all(row.verdict.ok for row in rows)
    return 0 if good else 1


def _chosen(checks, options: argparse.Namespace):
    """The checks with the cases of this run, and whether slow ones among them are run."""
    if options.command not in ("figures", "all"):
        return checks, options.full
    from theory_checks.engine.figures import needed
    from theory_checks.engine.registry import narrowed

    shown = needed(options.names)
    usual = {
        check.key: check.selected(full=options.full) if options.command == "all" else ()
        for check in checks
    }
    chosen = [narrowed(check, {*usual[check.key], *shown.get(check.key, ())}) for check in checks]
    return [check for check in chosen if check.cases], True


def _carried_out(
    registry, checks, plan, printer, options: argparse.Namespace, *, full: bool, configure
):
    """Rows in the order in which they were done, whether all were, and what the run cost."""
    from theory_checks.engine import results, runner, workers

    watch, rows, finished = runner.Stopwatch(), [], False
    jobs = min(options.jobs or workers.default_jobs(), len({check.key for check, _ in plan}))
    if jobs == 1 or registry.loader is None:
        jobs = 1
        run = runner.run(checks, full=full, prove=options.prove, on_case=printer.on_case)
    else:
        how = {
            "configure": configure,
            "loader": registry.loader,
            "full": full,
            "prove": options.prove,
        }
        run = workers.run(checks, jobs=jobs, on_case=printer.on_case, **how)
    try:
        for row in run:
            rows.append(row)
            printer.add(row)
            if printer.gone and not results.wanted(options):
                break
        finished = not printer.gone or len(rows) == len(plan)
    except KeyboardInterrupt:
        pass
    finally:
        # ends the processes of the run
        run.close()
        printer.progress.close()
    return rows, finished, watch.stop(processes=jobs)


def _hints(options: argparse.Namespace, rows, checks: Sequence) -> list[str]:
    """The commands that go on from here."""
    from theory_checks.engine.registry import Verdict
    from theory_checks.engine.summary import by_theorem

    # one of a kind says how; the others are named above
    points, cases = [], []
    for theorem in sorted(by_theorem(rows), key=lambda theorem: theorem.as_expected):
        if (
            theorem.verdict is Verdict.REFUTED
            and options.command == "run"
            and options.counterexamples is None
        ):
            full = " --full" if all(row.case.full for row, _ in theorem.refutations) else ""
            points.append(
                (
                    f"run -k {theorem.check.key}{full} --counterexamples DIR",
                    "the points that refute it, as files",
                )
            )
        if not options.verbose and not all(row.verdict.ok for row in theorem.rows):
            cases.append(
                (
                    f"run -k {theorem.check.key}{' --full' if options.full else ''} -v",
                    "every case of it",
                )
            )
    found = points[:1] + cases[:1]
    slow = sum(case.full for check in checks for case in check.cases)
    if slow and not options.full and options.command in ("run", "report"):
        pattern = f" -k {shlex.quote(options.pattern)}" if options.pattern else ""
        found.append((f"run{pattern} --full", f"{slow} slow case{'s' if slow > 1 else ''} more"))
    if options.command == "run":
        found.append(("all --out DIR", "a page with the papers' figures"))
    width = max((len(command) for command, _ in found), default=0)
    starts = ["next: ", *[" " * 6] * len(found)]
    return [
        f"{start}{typed_as()} {command:<{width}}  {why}"
        for start, (command, why) in zip(starts, found, strict=False)
    ]


def _rendered_again(options: argparse.Namespace) -> int:
    """The page, or the figures, of rows that an earlier run wrote."""
    if options.pattern or options.full or options.prove:
        print(
            "--from takes all rows of its file: -k, --full and --prove choose what is run",
            file=sys.stderr,
        )
        return 2
    from theory_checks.engine import files, results

    if options.command == "figures" and options.source.endswith(".npz"):
        from theory_checks.engine.figures import command

        return command.redraw(options)
    try:
        document = files.read_json(options.source)
    except (OSError, ValueError) as error:
        print(f"--from {options.source}: {error}", file=sys.stderr)
        return 2
    if problem := results.without_place(options):
        print(problem, file=sys.stderr)
        return 2
    if options.command == "figures":
        from theory_checks.engine.figures import command

        lines, lacking = command.draw(
            options.out, document["rows"], names=options.names, formats=options.formats
        )
        print("\n".join(lines))
        for line in lacking:
            print(line, file=sys.stderr)
        return 1 if lacking else 0
    from theory_checks.engine import html_report

    print("\n".join(html_report.write_document(options.out, document)))
    return 0


def configure_jax(*, cache: bool, quick: bool) -> None:
    """Float64, and compiled programs kept between runs where the user's cache folder can be
    written."""
    import jax

    # three quarters of a quick run is compilation of small programs: less optimisation makes it a
    # fifth shorter
    jax.config.update("jax_disable_most_optimizations", quick)

    jax.config.update("jax_enable_x64", True)
    if cache:
        from ufm import enable_compilation_cache

        enable_compilation_cache()
