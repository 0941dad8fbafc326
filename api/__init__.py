"""The HTTP process: services, reviewers, auditors and policy authors."""
