"""What surrounds a computation: the terminal and the shell, Ctrl-C, and files."""
