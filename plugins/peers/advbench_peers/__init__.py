"""`advbench speed`: an attack's time against the passes it needs, and against other libraries."""
