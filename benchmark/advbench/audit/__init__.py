"""Doubting stored facts: verify, reproduce, merge."""
