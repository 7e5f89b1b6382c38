"""The version of the rules by which the core judges."""

PROTOCOL = 2
"""Raised when a change to the core can change a verdict; results of different versions never share a rate."""
