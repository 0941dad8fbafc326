"""Captures golden histories: ``python -m tests.replay.capture [--only PATH]``. Nothing else writes them.

Each path runs on a real dev server with a production worker; the model, the verifier, the ledger and the journal are
fakes. The history is what the server then hands out.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Sequence

from temporalio.common import SearchAttributeKey
from temporalio.testing import WorkflowEnvironment

from adapters.temporal_plugin import temporal_plugin
from domain.attributes import SEARCH_ATTRIBUTES
from tests.conftest import TUNED, binary
from tests.replay.recorded import HISTORIES, write
from tests.replay.review_paths import PATHS
from tests.replay.rig import Rig

KEEP = """\
A golden history stands for the requests that run at your users' while you deploy. Replacing it throws away the only
proof that such a request can go on under the new code. If the Workflow changed on purpose, guard the change with
workflow.patched(), rename the old file to <path>.<what-changed>.json and capture again: then both are replayed.
--replace is for histories that no deployed version has ever written."""


async def capture(names: Sequence[str]) -> None:
    """Drive each named path to its end and write its history. Raises if one goes another way than it should."""
    async with await WorkflowEnvironment.start_local(
        dev_server_existing_path=binary("temporal"),
        plugins=[temporal_plugin()],
        search_attributes=[SearchAttributeKey.for_keyword(name) for name in SEARCH_ATTRIBUTES],
        dev_server_extra_args=TUNED,
        identity="golden",
    ) as server:
        for name in names:
            rig = Rig(server.client, name)
            try:
                await PATHS[name](rig)
            except BaseException:
                await rig.abandon()
                raise
            captured = server.client.get_workflow_handle(rig.id, run_id=rig.captured_run)
            history = await captured.fetch_history()
            write(HISTORIES / f"{name}.json", history.to_json_dict())
            print(f"{name}: {len(history.events)} events")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.replay.capture", description="Capture golden histories.")
    parser.add_argument("--only", action="append", choices=sorted(PATHS), metavar="PATH", help="this path; repeatable")
    parser.add_argument("--replace", action="store_true", help="overwrite existing histories")
    options = parser.parse_args(arguments)
    names = options.only or list(PATHS)
    existing = [name for name in names if (HISTORIES / f"{name}.json").exists()]
    wanted = [name for name in names if options.replace or name not in existing]
    if existing and not options.replace:
        print(f"Not overwritten: {', '.join(existing)}.\n{KEEP}", file=sys.stderr)
        if options.only or not wanted:
            return 1
    HISTORIES.mkdir(exist_ok=True)
    logging.getLogger("temporalio").setLevel(logging.ERROR)  # the failures of these paths are meant
    asyncio.run(capture(wanted))
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # the Temporal runtime can abort while the interpreter tears it down
