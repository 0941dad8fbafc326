"""Follows the queue: looks again and again, and tells what has changed since it last looked."""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cli.client import path_of
from cli.exits import CommandError, ExitCode
from cli.output import text, when
from cli.queue_view import items_of, queue_table
from cli.session import Session, clock, deadline_in, pause
from cli.terminal import print_json, stdout, warn

if TYPE_CHECKING:
    from rich.console import Group

Item = Mapping[str, Any]
Tell = Callable[[str, Item], None]

_MOST = 1000
"""Reviews that are followed; what lies behind them is told when it comes nearer."""
_PAGE = 200
_LINES = 8
"""Changes that are shown below the live queue."""
_WORDS = {
    "waiting": "waits",
    "new": "new",
    "changed": "has a new version",
    "moved": "moved to queue {queue}",
    "claimed": "claimed by {claimed_by}",
    "released": "released",
    "decided": "{decided_verdict} by {decided_by}",
    "expired": "expired: the safe text was sent",
    "cancelled": "cancelled",
    "overridden": "overridden by {decided_by}",
    "gone": "is not there any more",
}


def follow(current: Session, filters: Mapping[str, str | int], every: float, seconds: float | None) -> None:
    """Follow what waits until Ctrl-C, or for ``seconds``. Raises ``CommandError`` if even the first look fails.

    Later an API that is away is waited for.
    """
    deadline = None if seconds is None else deadline_in(seconds)
    queue = _Queue(current, filters)
    with suppress(KeyboardInterrupt):
        if current.as_json or not sys.stdout.isatty():
            queue.begin(_json_line if current.as_json else _line)
            _repeat(queue, _json_line if current.as_json else _line, every, deadline)
        else:
            _live(queue, every, deadline)


def _repeat(
    queue: _Queue, tell: Tell, every: float, deadline: float | None, shown: Callable[[], None] = lambda: None
) -> None:
    away = False
    while deadline is None or clock() + every <= deadline:
        pause(every)
        try:
            queue.look(tell)
        except CommandError as error:
            if error.code is not ExitCode.UNREACHABLE:
                raise
            if not away:
                warn(f"{error.message}; waiting for it")
            away = True
        else:
            away = False
        shown()


def _live(queue: _Queue, every: float, deadline: float | None) -> None:
    from rich.console import Group
    from rich.live import Live

    lines: deque[str] = deque(maxlen=_LINES)

    def drawn() -> Group:
        table = queue_table(queue.items[:_PAGE], f"{len(queue.items)} waiting")
        return Group(table, *(text(line, style="dim") for line in lines))

    queue.begin(lambda _event, _item: None)
    with Live(drawn(), console=stdout(), auto_refresh=False, vertical_overflow="ellipsis") as live:
        live.refresh()
        _repeat(
            queue,
            lambda event, item: lines.append(_in_words(event, item)),
            every,
            deadline,
            lambda: live.update(drawn(), refresh=True),
        )


class _Queue:
    """What waits, as it was when it was last looked at."""

    def __init__(self, current: Session, filters: Mapping[str, str | int]) -> None:
        self._current = current
        self._filters = filters
        self.items: list[Item] = []

    def begin(self, tell: Tell) -> None:
        """Look for the first time."""
        self.items = self._waiting()
        for item in self.items:
            tell("waiting", item)

    def look(self, tell: Tell) -> None:
        """Look again, and tell what has changed."""
        before, self.items = {item.get("id"): item for item in self.items}, self._waiting()
        now = {item.get("id"): item for item in self.items}
        for identifier, item in now.items():
            for event in _changes(before.get(identifier), item):
                tell(event, item)
        for identifier, item in before.items():
            if identifier not in now:
                self._closed(item, tell)

    def _closed(self, item: Item, tell: Tell) -> None:
        """Tell how a review ended that waits no more. One that only left the filters is not told."""
        answer = self._current.api.get(path_of("reviews", str(item.get("id"))), accept=frozenset({404}))
        if answer.status == 404:
            tell("gone", item)
        elif answer.data.get("state") in ("decided", "expired", "cancelled", "overridden"):
            ended = {name: answer.data.get(name) for name in ("state", "decided_by", "decided_verdict", "closed_at")}
            tell(str(answer.data["state"]), {**item, **ended})

    def _waiting(self) -> list[Item]:
        found: list[Item] = []
        cursor: str | None = None
        while len(found) < _MOST:
            asked: dict[str, str | int] = {"state": "pending", "limit": _PAGE, **self._filters}
            data = self._current.api.get("/v1/reviews", asked | ({"cursor": cursor} if cursor else {})).data
            found += items_of(data)
            cursor = data.get("next_cursor")
            if not cursor:
                break
        return found


def _changes(before: Item | None, item: Item) -> Iterator[str]:
    if before is None:
        yield "new"
        return
    if before.get("proposal") != item.get("proposal"):
        yield "changed"
    if (before.get("queue"), before.get("senior_only")) != (item.get("queue"), item.get("senior_only")):
        yield "moved"
    if before.get("claimed_by") != item.get("claimed_by"):
        yield "claimed" if item.get("claimed_by") is not None else "released"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _json_line(event: str, item: Item) -> None:
    print_json(json.dumps({"event": event, "at": _now(), "review": item}, ensure_ascii=False))


def _line(event: str, item: Item) -> None:
    stdout().print(text(_in_words(event, item), style=""), soft_wrap=True)


def _in_words(event: str, item: Item) -> str:
    policy = item.get("policy")
    name = policy.get("name") if isinstance(policy, Mapping) else policy
    told = _WORDS[event].format_map({key: value if value is not None else "-" for key, value in item.items()})
    return f"{when(_now())}  {item.get('id')}  {name}  {item.get('risk')}  {told}"
