"""What every order of a person carries through Temporal: whom it is for, who gave it, when, and the API's signature."""

from __future__ import annotations

import json
from typing import Annotated

from pydantic import AwareDatetime, Field, StringConstraints

from domain.payload import Payload, Text

MAX_REASON = 4000
DecisionId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:-]{1,100}$")]
Holder = Annotated[Text, Field(max_length=1000)]
"""A name or a signature in an envelope; bounded and storable also where somebody else than the API wrote it."""


class SignedEnvelope(Payload):
    """The part of an order that binds it: to one request of one tenant, and to the API that checked who gave it."""

    decision_id: DecisionId
    request_id: Holder
    tenant: Holder
    decided_at: AwareDatetime
    signature: Holder = ""

    def signed_bytes(self) -> bytes:
        """What the signature covers: every field that is given, but itself, as JSON with sorted keys."""
        fields = self.model_dump(mode="json", exclude={"signature"}, exclude_none=True)
        return json.dumps(fields, sort_keys=True).encode("utf-8")
