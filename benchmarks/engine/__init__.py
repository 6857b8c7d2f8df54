"""Time one meta-step of every implementation that finds the same meta-gradient.

    python -m benchmarks.engine --quick

`docs/benchmarks.md` says what is compared and how to read the tables.
"""
