"""A trained network behind its defenses: what it answers, and who judges that."""
