"""Random and deliberate damage to everything that a stranger can hand in: `make fuzz`, or `python tests/fuzz`."""
