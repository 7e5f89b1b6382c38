"""What an attack sees of its target, for examples one by one or for a set."""
