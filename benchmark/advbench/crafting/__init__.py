"""Crafting one cell: an attack runs on its problem, in an engine, and is held to leave everything else as it was."""
