"""The worker process and its composition root."""
