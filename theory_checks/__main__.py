"""`python -m theory_checks`: run the checks and print one table a paper. Exit status 1 if anything fails, 130 after Ctrl-C."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time


def parser() -> argparse.ArgumentParser:
    """The command line. Nothing heavy is imported until it has been parsed."""
    top = argparse.ArgumentParser(
        prog="python -m theory_checks",
        description="Check published theorems against direct minimisation: one table a paper.",
        epilog="Without a command, `run` is meant: its options may follow directly.",
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="{run,list}")
    run = commands.add_parser("run", help="run the checks")
    run.add_argument("--full", action="store_true", help="add the slow cases")
    run.add_argument("--json", metavar="FILE", help="write the rows to FILE as well")
    run.add_argument("--counterexamples", metavar="DIR", help="write the point that refutes a theorem to DIR, one .npz file each")
    run.add_argument("--no-cache", action="store_true", help="keep no compiled programs between runs")
    listed = commands.add_parser("list", help="list the checks")
    for command in (run, listed):
        command.add_argument("-k", metavar="PATTERN", dest="pattern", default="", help="only checks whose key contains PATTERN")
    return top


def main(argv: list[str] | None = None, *, registry=None) -> int:
    """Run the command line on all checks, or on those of another registry, and return its exit status."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or (argv[0].startswith("-") and argv[0] not in ("-h", "--help")):
        argv = ["run", *argv]
    options = parser().parse_args(argv)
    # several threads turned small factorisations a hundred times slower; NumPy reads this once, when it is first imported
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if options.command == "run":
        _configure_jax(cache=not options.no_cache, quick=not options.full)
    if registry is None:
        from theory_checks.registry import load

        registry = load()

    checks = registry.matching(options.pattern)
    if not checks:
        print(f"no check matches {options.pattern!r}; see: python -m theory_checks list", file=sys.stderr)
        return 2
    if options.command == "list":
        from theory_checks.report import listing

        print(listing(checks))
        return 0
    return _run(registry, checks, full=options.full, json_path=options.json, folder=options.counterexamples)


def _run(registry, checks, *, full: bool, json_path: str | None, folder: str | None) -> int:
    from theory_checks import report, runner

    if json_path is not None and not os.path.isdir(os.path.dirname(os.path.abspath(json_path))):
        print(f"--json {json_path}: the folder does not exist", file=sys.stderr)
        return 2
    if folder is not None and not os.path.isdir(folder):
        print(f"--counterexamples {folder}: the folder does not exist", file=sys.stderr)
        return 2
    if not runner.planned(checks, full=full):
        print("every case that matches is slow: add --full", file=sys.stderr)
        return 2
    rows, finished = [], False
    progress = _Progress()
    try:
        for row in runner.run(checks, full=full, on_case=progress):
            rows.append(row)
        finished = True
    except KeyboardInterrupt:
        pass
    progress.clear()
    print(report.tables(rows, registry.papers))
    if json_path is not None:
        report.write_json(json_path, report.as_document(rows, registry.papers, finished=finished))
    if folder is not None:
        written = report.write_counterexamples(folder, rows)
        print("\n".join(["counterexamples:", *(f"  {path}" for path in written)] if written else ["no counterexamples"]))
    if not finished:
        print(f"interrupted: {len(rows)} of {len(runner.planned(checks, full=full))} cases done", file=sys.stderr)
        return 130
    return 0 if all(row.verdict.ok for row in rows) else 1


def _configure_jax(*, cache: bool, quick: bool) -> None:
    """Float64, and compiled programs kept between runs where the user's cache folder can be written."""
    import jax

    # three quarters of a quick run is compilation of small programs: less optimisation makes it a fifth shorter
    jax.config.update("jax_disable_most_optimizations", quick)

    jax.config.update("jax_enable_x64", True)
    folder = _cache_folder() if cache else None
    if folder is not None:
        jax.config.update("jax_compilation_cache_dir", folder)
        # the default keeps only programs that took a second to compile; ours take less, and there are many
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def _cache_folder() -> str | None:
    """The folder for compiled programs, or None where nothing can be written."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    folder = os.path.join(base, "ufm", "compiled")
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        return None


class _Progress:
    """What runs, how far, how long still: one line on a terminal, nothing in a pipe."""

    def __init__(self):
        self.shown = sys.stderr.isatty()
        self.began = time.perf_counter()

    def __call__(self, done: int, total: int, check, case) -> None:
        if not self.shown:
            return
        elapsed = time.perf_counter() - self.began
        left = f", about {elapsed / done * (total - done):.0f} s left" if done else ""
        self._write(f"[{done + 1}/{total}] {check.key}: {case.id} ({elapsed:.0f} s{left})")

    def clear(self) -> None:
        """Leave the line empty for the tables."""
        if self.shown:
            self._write("")

    @staticmethod
    def _write(text: str) -> None:
        sys.stderr.write(f"\r\x1b[2K{text}")
        sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
