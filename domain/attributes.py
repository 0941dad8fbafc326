"""Names of the Search Attributes and memo fields of a request's Workflow. None of them holds content."""

from __future__ import annotations

POLICY = "SluicePolicy"
POLICY_VERSION = "SluicePolicyVersion"
TENANT = "SluiceTenant"
STATUS = "SluiceStatus"
"""``held`` while a person is waited for, afterwards how the request went on; absent where no person was needed."""
RISK = "SluiceRisk"
"""The risk tier of a request that was held."""

SEARCH_ATTRIBUTES = (POLICY, POLICY_VERSION, TENANT, STATUS, RISK)
"""All of them, each of type Keyword."""

MEMO_TENANT = "tenant"
MEMO_BODY_SHA256 = "body_sha256"
