"""Hundreds of requests held at once, everything killed, and every one of them still decided exactly once."""

from __future__ import annotations

from pathlib import Path

import httpx

from standalone.crowd import Crowd, kill_and_start_again
from standalone.hold_bench import bench_options
from standalone.stack import running

HELD = 500


async def test_five_hundred_holds_survive_kill_9_of_everything(tmp_path: Path) -> None:
    async with running(bench_options(tmp_path / "var")) as stack:
        async with httpx.AsyncClient(base_url=stack.url, timeout=60) as http:
            crowd = Crowd(stack, http)
            await crowd.hold(0, HELD, lambda _: None)
            await kill_and_start_again(stack)
            assert crowd.pending() == HELD
            outcomes = await crowd.decide_all(lambda _: None)
        assert outcomes == {"approved": HELD // 2, "rejected": HELD // 2}
        assert set(crowd.lost_or_doubled().values()) == {0}
        assert crowd.rows("SELECT count(*) FROM requests") == [(HELD,)]
