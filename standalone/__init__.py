"""The embedded stack: real Temporal dev server, worker, API and simulated models in one command."""
