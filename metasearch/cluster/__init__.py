"""Where Ray runs: templates for clusters, filled in and checked."""
