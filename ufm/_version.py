"""The version: said once, read by the build, by `ufm.__version__` and by `--version`."""

__version__ = "0.2.0.dev0"
