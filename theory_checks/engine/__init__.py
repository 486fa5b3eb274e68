"""What runs the checks and shows their rows: registry, runner, processes, terminal, report, figures."""
