"""Says whether an order may be given: by the API's signature, and by the rights of the person who gave it."""

from __future__ import annotations

from adapters.decision_keys import DecisionPublicKey
from adapters.roster import Roster
from domain.identity import Role
from domain.override import OverrideEnvelope
from domain.review import DecisionCheck
from domain.rights import objection


class SqlDecisionAuthority:
    """Implements ``domain.ports.DecisionAuthority``. Rights are those at the moment the order was given.

    Raises where the database cannot be read: whoever asks must ask again, not guess.
    """

    def __init__(self, public_key: DecisionPublicKey, roster: Roster) -> None:
        self._public_key = public_key
        self._roster = roster

    async def problem(self, check: DecisionCheck) -> str | None:
        """Why the decision may not be applied; None if it may. Nothing is looked up for what is not signed."""
        envelope, who = check.envelope, check.who
        unsigned = self._public_key.problem(envelope)
        if unsigned is not None or who is None:
            return unsigned
        standing = await self._roster.standing(
            envelope.tenant, envelope.reviewer, envelope.on_behalf_of, who.queue, envelope.decided_at
        )
        return objection(who, standing)

    async def override_problem(self, envelope: OverrideEnvelope) -> str | None:
        """Why the operator's order may not be applied; None if it may."""
        unsigned = self._public_key.problem(envelope)
        if unsigned is not None:
            return unsigned
        roles = await self._roster.roles(envelope.tenant, envelope.operator, envelope.decided_at)
        if Role.OPERATOR not in roles:
            return f"{envelope.operator!r} does not hold the role operator (any more)"
        return None
