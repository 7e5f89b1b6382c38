"""One cell: an attack meets its problem, watched, in an engine."""
