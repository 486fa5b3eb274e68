"""The rooms behind `ufm.sweep`.

What is swept, how a chunk of lanes is solved, where chunks are kept, and who works on them.
"""

from ufm.sweeping.options import Minimisation, Report

__all__ = ["Minimisation", "Report"]
