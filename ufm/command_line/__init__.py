"""What the command `python -m ufm` understands.

Settings of a problem, and specifications of sweeps.
"""
