"""Documentation that tells the truth."""
