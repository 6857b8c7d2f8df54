"""Real clusters on one machine: `make cluster-smoke`. What this machine lacks is skipped, loudly."""
