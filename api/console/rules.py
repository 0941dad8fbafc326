"""What a policy says, in its own words: the setting that held an answer, with its value."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from domain.policy import Policy, PolicySnapshot

_PATH = re.compile(r"[a-z_]+(?:\.[a-z0-9_-]+)*")


def settings_of(rule: str, snapshot: PolicySnapshot | None, version: str) -> tuple[str, ...]:
    """Each setting that ``rule`` names, as a policy file writes it.

    Without its value where this process knows another version of the policy than the request is pinned to.
    """
    names = [name.strip() for name in rule.split(",") if _PATH.fullmatch(name.strip())]
    if snapshot is None or snapshot.version != version:
        return tuple(names)
    return tuple(_setting(name, snapshot.policy) for name in names)


def _setting(name: str, policy: Policy) -> str:
    found: Any = policy.model_dump(mode="json")
    for part in name.split("."):
        found = _child(found, part)
        if found is None:
            return name
    if isinstance(found, Mapping) or (isinstance(found, Sequence) and not isinstance(found, str)):
        return name
    return f"{name}: {found if isinstance(found, str) else json.dumps(found)}"


def _child(found: Any, part: str) -> Any:
    """What ``found`` has under ``part``; in a list of checks or stages the one of that name."""
    if isinstance(found, Mapping):
        return found.get(part)
    if isinstance(found, list):
        return next((item for item in found if isinstance(item, Mapping) and item.get("name") == part), None)
    return None
