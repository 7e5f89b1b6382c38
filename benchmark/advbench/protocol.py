"""The version of the rules by which the core judges."""

PROTOCOL = 3
"""Raised when a change to the core can change any verdict, or to the rules by which keys are made; results of different
versions never share a rate. What touches one area of the core raises that area's revision instead (`revisions`)."""
