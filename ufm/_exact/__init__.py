"""Numbers that claim no more than is known: exact fractions of floats, and decimals rounded to the
side that is proved."""
