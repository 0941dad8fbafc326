"""Exit codes, and the one error that ends a command with one of them."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What a shell learns from a command. The numbers are a promise to scripts: they only ever get more."""

    DONE = 0
    OTHER = 1
    USAGE = 2
    NOT_FOUND = 3
    REFUSED = 4
    CONFLICT = 5
    NOT_ENDED = 6
    UNREACHABLE = 7


IN_WORDS = {
    ExitCode.DONE: "done; a request that ended in a refusal is done as well, and so is an approval that counts towards "
    "a quorum",
    ExitCode.OTHER: "anything else, such as a defect of the API",
    ExitCode.USAGE: "the command line or the credentials are not usable",
    ExitCode.NOT_FOUND: "no such request, review or policy (or not in your tenant)",
    ExitCode.REFUSED: "the API refused it: bad input, missing role, a decision that is not yours, too many requests",
    ExitCode.CONFLICT: "conflict: a decision or override that was not applied (stale, superseded, late), a review that "
    "somebody else has claimed, or a key used twice",
    ExitCode.NOT_ENDED: "still running, held or undecided after the wait",
    ExitCode.UNREACHABLE: "the API cannot be reached or is not ready",
}
"""What each code means, as ``sluice --help`` prints it."""


class CommandError(Exception):
    """A command cannot go on. ``remedy`` says what the person can do; ``answer`` is the API's own answer, if any.

    The texts may quote the API: whoever prints them makes them safe for a terminal first.
    """

    def __init__(self, code: ExitCode, message: str, remedy: str | None = None, answer: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.remedy = remedy
        self.answer = answer
