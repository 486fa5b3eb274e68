"""Unconstrained features models.

Solve them, predict their optima in closed form, certify and compare.
"""

import lazy_loader

# The public names stand in `__init__.pyi`, once, for this and for type checkers. Each is imported
# when it is first asked for, so that `python -m ufm --help` does not wait for JAX.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
