"""What several defenses share. No defense is in here."""
