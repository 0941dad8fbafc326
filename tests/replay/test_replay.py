"""Every golden history must be replayable by the code as it is, and must end as it did."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.replay.recorded import history_files, path_of
from tests.replay.replaying import ReplayBrokenError, check_replay
from tests.replay.review_paths import PATHS


@pytest.mark.parametrize("file", history_files(), ids=lambda file: file.stem)
async def test_replays(file: Path) -> None:
    try:
        await check_replay(file)
    except ReplayBrokenError as error:
        pytest.fail(str(error), pytrace=False)


def test_every_path_has_its_history() -> None:
    assert {path_of(file) for file in history_files()} == set(PATHS), (
        "run 'make golden' for a path that has no history yet; keep the function of a path whose history is kept"
    )
