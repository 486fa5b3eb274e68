"""What runs the checks and shows their rows.

Registry, runner, processes, terminal, report, figures.
"""
