"""What is true: requests, policies, evidence, decisions. Pure: no I/O, no clock, no randomness."""
