"""Many problems at once: how they are stacked, in which layout they run, and who works on them."""

from ufm.batch.execution import Execution

__all__ = ["Execution"]
