"""What signing in to the console needs of the world: sessions, and an identity provider where there is one."""

from __future__ import annotations

from datetime import timedelta
from typing import Protocol

from adapters.oidc import Started
from adapters.sessions import OpenedSession, Session
from domain.identity import Principal


class Sessions(Protocol):
    """Knows who is signed in to the console."""

    async def open(self, principal: Principal, source: str, lifetime: timedelta) -> OpenedSession:
        """Sign somebody in. ``source`` says how they proved who they are."""
        ...

    async def find(self, token: str) -> Session | None:
        """The session of this cookie; None where it is unknown, has expired or was ended."""
        ...

    async def end(self, token: str) -> None:
        """Sign out. Again is no change."""
        ...


class IdentityProvider(Protocol):
    """Proves who somebody is. Its errors are ``SignInError``, with a message for people."""

    @property
    def source(self) -> str:
        """What sessions say of where their person comes from."""
        ...

    async def start(self, redirect_uri: str) -> Started:
        """Begin a sign-in that comes back to ``redirect_uri``."""
        ...

    async def finish(self, code: str, started: Started) -> Principal:
        """Who has signed in, from what the provider sent back."""
        ...
