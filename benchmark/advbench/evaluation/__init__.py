"""The door for Python and notebooks."""
