"""`python -m theory_checks`: the command line of `theory_checks.engine.command`."""

import sys

from theory_checks.engine.command import main
from ufm._command import run

if __name__ == "__main__":
    sys.exit(run(main))
