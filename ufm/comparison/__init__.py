"""A measured solution against a predicted optimum, by what is identified."""

from ufm.comparison.judging import compare
from ufm.comparison.table import Comparison, Row

__all__ = ["Comparison", "Row", "compare"]
