"""What a stranger hands over is read, and never run."""
