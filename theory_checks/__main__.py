"""`ufm-checks` or `python -m theory_checks`: the commands of `theory_checks.engine.command`."""

import sys

from theory_checks.engine.command import main
from ufm._system.command import run


def script() -> int:
    """The command `ufm-checks`."""
    return run(main)


if __name__ == "__main__":
    sys.exit(script())
