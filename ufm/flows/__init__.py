"""Trajectories: the gradient flow, the central path, and the integrators that follow them."""

from ufm.flows.batched_flow import flow_batch
from ufm.flows.best_classifier import start_from_features
from ufm.flows.gradient_flow import flow
from ufm.flows.options import Flow, Integration, Path, Record

__all__ = ["Flow", "Integration", "Path", "Record", "flow", "flow_batch", "start_from_features"]
