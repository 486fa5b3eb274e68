"""The field's theorems as checks: prediction, measurement and certificate side by side.

`python -m theory_checks` runs them.
"""
