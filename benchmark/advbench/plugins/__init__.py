"""Finding, checking and pairing plugins."""
