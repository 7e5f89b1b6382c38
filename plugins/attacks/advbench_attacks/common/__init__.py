"""What several attacks share: losses, steps, ways back to the border, transport. No attack is in here."""
