"""The console: pages on which people work the review queue. Everything works without JavaScript."""
