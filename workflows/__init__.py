"""The order of things, durably."""
