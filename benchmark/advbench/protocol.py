"""The version of the rules by which the core judges."""

PROTOCOL = 2
"""Raised when a change to the core can change a verdict; results of different versions never share a rate."""
FIRST = 1
"""That of version 0.1. Its results are shown and refereed by its own rules, and nothing is crafted by them."""


def suffix(protocol: int) -> str:
    """What tells a board of earlier rules from its namesake of today: `, protocol 1`; empty for today's."""
    return "" if protocol == PROTOCOL else f", protocol {protocol}"
