"""Thousands of damaged and hostile inputs, each of which has to end in words."""
