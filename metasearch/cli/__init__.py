"""The command line: the only place that prints. Verbs import what they need when they run."""
