"""Risk tiers. A tier is only ever raised on a request's way, never lowered."""

from __future__ import annotations

from enum import StrEnum


class RiskTier(StrEnum):
    """How much harm a wrong answer could do, from least to most."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """Position from 0 (low) to 3 (critical)."""
        return _ORDER.index(self)

    def at_least(self, other: RiskTier) -> bool:
        """True if this tier is ``other`` or above it."""
        return self.rank >= other.rank


_ORDER = (RiskTier.LOW, RiskTier.MEDIUM, RiskTier.HIGH, RiskTier.CRITICAL)


def highest(*tiers: RiskTier | None) -> RiskTier:
    """The highest of the given tiers; absent ones do not count, and nothing at all is low."""
    return max((tier for tier in tiers if tier is not None), key=lambda tier: tier.rank, default=RiskTier.LOW)
