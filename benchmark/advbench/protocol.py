"""The version of the rules by which the core judges."""

PROTOCOL = 3
"""Raised when a change to the core can change any verdict, or to the rules by which keys are made; results of different
versions never share a rate. What touches one area of the core raises that area's revision instead (`revisions`)."""
FIRST = 1
"""That of version 0.1. Its results are shown and refereed by its own rules, and nothing is crafted by them."""
SECOND = 2
"""It judged as today's does; its keys took in all that was said of who shipped a plugin."""
KNOWN = (FIRST, SECOND, PROTOCOL)


def suffix(protocol: int) -> str:
    """What tells a board of earlier rules from its namesake of today: `, protocol 1`; empty for today's."""
    return "" if protocol == PROTOCOL else f", protocol {protocol}"
