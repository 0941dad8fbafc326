"""The ``sluice`` command: a client of the HTTP API."""
