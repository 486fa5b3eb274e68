"""What the command `python -m ufm` understands: settings of a problem, and specifications of sweeps."""
