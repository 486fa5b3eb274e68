"""Every timing of the project: ours against a rival, side by side in one run.

`python -m tests.benchmarks` prints the table.
"""
