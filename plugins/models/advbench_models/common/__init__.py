"""What several networks share: layers, capsules, groups of turns, recipes. No model is in here."""
