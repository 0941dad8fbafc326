"""What the terminal shows of the samples: nothing is left out, and the summary fits a small window."""

from __future__ import annotations

from io import StringIO

from rich.console import Console

from standalone.feed import Line
from standalone.samples import SAMPLES, load_samples
from standalone.table import Board, summarise, summary_table

SAMPLE = load_samples(SAMPLES)[0]


def plain(width: int = 80) -> tuple[Console, StringIO]:
    """A console that is no terminal, and what it printed."""
    shown = StringIO()
    return Console(file=shown, width=width), shown


def test_without_a_terminal_every_settled_sample_is_one_line() -> None:
    console, shown = plain()
    with Board(console, 2) as board:
        held, done = Line(SAMPLE), Line(SAMPLE)
        for line, status in ((held, "running"), (held, "held"), (held, "held"), (done, "running"), (done, "completed")):
            line.status = status
            board.changed(line)
        done.outcome = "accepted"
        board.changed(done)
        board.changed(done)
    lines = shown.getvalue().splitlines()
    assert [line.split()[0] for line in lines] == ["1/2", "2/2"]
    assert lines[0].split()[-1] == "held"
    assert lines[1].split()[-2:] == ["completed", "accepted"]


def test_the_summary_fits_eighty_columns_whole() -> None:
    console, shown = plain(80)
    console.print(summary_table(summarise([Line(sample, status="held") for sample in load_samples(SAMPLES)])))
    told = shown.getvalue()
    assert "…" not in told
    assert all(word in told for word in ("compliance-check", "pricing-bundles", "completed", "expected", "strongest"))
