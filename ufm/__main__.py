"""`ufm`, or `python -m ufm`: solve one problem and judge it, run a sweep into a store, or measure
features in files.

Exit status: 0 solved, and it agrees with the closed form where there is one; 1 not converged, or it
does not agree, or a lane of the sweep failed; 2 bad input; 130 after Ctrl-C (a sweep and a
measurement can be resumed).
"""

from __future__ import annotations

import argparse
import os
import sys

from ufm._system.command import add_version, run, started_as
from ufm._system.completion import add_completion
from ufm._system.interrupts import import_whole
from ufm.command_line import catalogue, making, measuring, running, solving


def _words() -> dict[str, tuple[str, ...]]:
    """What the options take whose values are checked later."""
    return {
        "--loss": tuple(catalogue.losses()),
        "--features": tuple(catalogue.domains()),
        "--classifier": tuple(catalogue.domains()),
        "--solver": making.SOLVERS,
    }


def parser() -> argparse.ArgumentParser:
    """The command line. Nothing heavy is imported until it has been parsed."""
    top = argparse.ArgumentParser(
        prog=started_as("ufm", module="ufm"),
        description="Unconstrained features models: solve one problem, sweep over many, or "
        "measure features.",
        epilog="Exit status: 0 solved and in agreement, 1 not converged or in disagreement, 2 bad "
        "input, 130 interrupted.",
    )
    add_version(top)
    add_completion(top, "ufm", _words)
    commands = top.add_subparsers(dest="command", required=True)
    solve, sweep = solving.add_solve(commands), running.add_sweep(commands)
    measuring.add_measure(commands)
    for command in (solve, sweep):
        command.add_argument("--json", action="store_true", help="print JSON")
        command.add_argument(
            "--float32", action="store_true", help="single precision, which verifies nothing"
        )
        command.add_argument(
            "--no-cache", action="store_true", help="keep no compiled programs between runs"
        )
    return top


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    options = parser().parse_args(argv)
    if options.command != "measure":
        # several threads turned small factorisations a hundred times slower; NumPy reads this once,
        # when it is first imported
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        import_whole("jax")
        if options.command == "measure":
            return measuring.measure(options)
        configure(double=not options.float32, cache=not options.no_cache)
        return (solving.solve if options.command == "solve" else running.sweep)(options)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        raise
    except (ValueError, OSError) as error:
        print(f"{started_as('ufm', module='ufm')} {options.command}: {error}", file=sys.stderr)
        return 2


def configure(*, double: bool, cache: bool) -> None:
    """Double precision, and compiled programs kept between runs."""
    import jax

    jax.config.update("jax_enable_x64", double)
    if cache:
        from ufm._programs.compilation import enable_compilation_cache

        enable_compilation_cache()


def script() -> int:
    """The command `ufm`."""
    return run(main)


if __name__ == "__main__":
    sys.exit(script())
