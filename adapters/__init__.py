"""The outside world: each class implements one port."""
