"""From Python."""
