"""Who acts: a named holder of a key, in one tenant, with roles. Each role sees and does only its part."""

from __future__ import annotations

from enum import StrEnum

from domain.payload import Payload


class Role(StrEnum):
    """What a key may be used for."""

    SERVICE = "service"
    """Starts requests, reads and cancels its own tenant's."""
    REVIEWER = "reviewer"
    """Reads and decides reviews."""
    SENIOR_REVIEWER = "senior-reviewer"
    """A reviewer who also decides what was escalated to seniors, reassigns reviews and sees how reviewing goes."""
    AUDITOR = "auditor"
    """Reads requests, records, histories and reviews."""
    OPERATOR = "operator"
    """Reads, cancels and overrides requests, reads reviews and policies, keeps queues and delegations."""
    POLICY_ADMIN = "policy-admin"
    """Reads, validates and explains policies."""


class Principal(Payload):
    """An authenticated caller."""

    tenant: str
    name: str
    roles: frozenset[Role]
