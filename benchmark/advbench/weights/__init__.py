"""How weights are made, found and kept."""
