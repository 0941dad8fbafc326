"""What may reach a terminal. Texts of models, requesters and reviewers are hostile until proven otherwise.

A terminal obeys control characters: an answer could recolour itself, overwrite the line above, hide text or type into
the reviewer's shell. Everything that is not plainly visible is therefore shown as a symbol and never sent raw. Rich
markup is switched off for the whole console, so square brackets are only square brackets.
"""

from __future__ import annotations

import json
import sys
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

_SHAPING = {"\u200c", "\u200d"}
"""Joiners that scripts and emoji need; they hide nothing."""
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
_WIDE = 120


def safe(text: object) -> str:
    """``text`` with every control, formatting and direction character made visible; line ends and tabs stay.

    Escape becomes ``␛``, other ASCII controls their symbol of the block Control Pictures, the rest ``<U+202E>``.
    """
    return "".join(_visible(character) for character in str(text).replace("\r\n", "\n"))


def safe_line(text: object) -> str:
    """``text`` made safe and put on one line: line ends become ``⏎``, tabs blanks."""
    return safe(text).replace("\n", "⏎").replace("\t", " ")


def safe_json(text: str) -> str:
    """JSON ``text`` that means exactly the same, with characters a terminal may obey written as JSON escapes.

    White space between tokens is the only place where a raw control character is allowed in JSON, so line ends and
    tabs stay as they are.
    """
    return "".join(
        character if character in "\n\t\r" or not _hidden(character) else json.dumps(character)[1:-1]
        for character in text
    )


def _hidden(character: str) -> bool:
    if " " <= character <= "~" or character in _SHAPING:
        return False
    return unicodedata.category(character) in _HIDDEN


def _visible(character: str) -> str:
    if character in "\n\t" or not _hidden(character):
        return character
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)
    return "␡" if code == 0x7F else f"<U+{code:04X}>"


def stdout() -> Console:
    """Where results go. Made anew for each use, because a process may exchange its streams."""
    return _console(stderr=False)


def stderr() -> Console:
    """Where notes, warnings and errors go, so that standard output holds results only."""
    return _console(stderr=True)


def _console(*, stderr: bool) -> Console:
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    # Without a terminal Rich assumes 80 columns and cuts ids short that a script wants to read.
    width = None if stream.isatty() else _WIDE
    return Console(file=stream, markup=False, emoji=False, highlight=False, width=width, soft_wrap=False)


def note(text: object) -> None:
    """One safe line of information on standard error."""
    stderr().print(safe(text), style="dim", soft_wrap=True)


def warn(text: object) -> None:
    """One safe warning on standard error."""
    stderr().print("warning: " + safe(text), style="yellow", soft_wrap=True)


def print_json(text: str) -> None:
    """The API's own answer on standard output, and nothing else."""
    sys.stdout.write(safe_json(text).rstrip("\n") + "\n")
    sys.stdout.flush()
