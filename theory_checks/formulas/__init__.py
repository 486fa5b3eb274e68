"""Formulas and points that the checks of several papers share."""
