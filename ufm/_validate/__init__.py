"""Checks of what a user passes: each failure is a `ValueError` with argument, condition and value.

They come before anything is compiled. What is traced is checked by kind, shape and dtype alone, and
only a check of values reads an array that lies on a device.
"""

from ufm._validate.dtypes import as_floats, at_one_width, float_dtype, require_dtype, rounding_of
from ufm._validate.kinds import (
    LARGEST_WHOLE,
    MOST_STARTS,
    MOST_THREADS,
    options_of,
    require_choice,
    require_flag,
    require_instance,
    require_key,
    require_one_of,
    require_path,
    require_whole,
)
from ufm._validate.numbers import (
    LONGEST_LIST,
    inside,
    require_array,
    require_each,
    require_finite,
    require_nonnegative,
    require_positive,
    require_real,
    require_static,
)
from ufm._validate.tracing import as_array, concrete, is_traced
from ufm._validate.words import Shown, require

__all__ = [
    "LARGEST_WHOLE",
    "LONGEST_LIST",
    "MOST_STARTS",
    "MOST_THREADS",
    "Shown",
    "as_array",
    "as_floats",
    "at_one_width",
    "concrete",
    "float_dtype",
    "inside",
    "is_traced",
    "options_of",
    "require",
    "require_array",
    "require_choice",
    "require_dtype",
    "require_each",
    "require_finite",
    "require_flag",
    "require_instance",
    "require_key",
    "require_nonnegative",
    "require_one_of",
    "require_path",
    "require_positive",
    "require_real",
    "require_static",
    "require_whole",
    "rounding_of",
]
