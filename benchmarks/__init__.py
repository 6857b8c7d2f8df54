"""What is measured here: how fast, beside whom, and how far from the machine's limit."""
