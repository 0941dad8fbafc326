"""The capture command protects what is there."""

from __future__ import annotations

import pytest

from tests.replay.capture import main
from tests.replay.recorded import HISTORIES
from tests.replay.review_paths import PATHS


@pytest.mark.parametrize("arguments", [[], ["--only", "accepted_at_first_stage"]])
def test_existing_histories_are_not_overwritten(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    before = {file: file.read_bytes() for file in HISTORIES.iterdir()}
    assert main(arguments) == 1
    told = capsys.readouterr().err
    assert "accepted_at_first_stage" in told
    assert "workflow.patched()" in told
    assert {file: file.read_bytes() for file in HISTORIES.iterdir()} == before


def test_an_unknown_path_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--only", "no_such_path"])
    assert next(iter(PATHS)) in capsys.readouterr().err
