"""YAML that remembers its lines, so that every error in a policy file can name one.

Only the plain core of YAML 1.2 is read: text, whole numbers, decimals, true, false and null. ``no`` is a country here
and ``12:30`` a text. Whatever could surprise a reader (a key written twice, a merge key, a tag of its own, a second
document, text that no database can hold) is refused with the line it stands on.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

import yaml

from domain.errors import PolicyError

MAX_FILE_BYTES = 256 * 1024
MAX_DEPTH = 40
MAX_VALUES = 20_000
"""Values of one file after aliases are expanded: a few aliases of aliases could otherwise stand for millions."""
MAX_SAFE_INTEGER = 2**53 - 1
"""The largest whole number that JSON (RFC 8785) carries exactly."""

KeyPath: TypeAlias = tuple[str | int, ...]
"""Where a value stands: mapping keys and list positions from the root."""

_TAG = "tag:yaml.org,2002:"
_NULL = re.compile(r"^(?:~|null|Null|NULL|)$")
_BOOL = re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$")
_INT = re.compile(r"^[-+]?[0-9]+$")
_FLOAT = re.compile(r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$")
_LONGEST_NUMBER = 60
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class WrittenFloat(float):
    """A float that still knows how it was written: ``str`` gives the text, from which an exact decimal can be made."""

    __slots__ = ("written",)
    written: str

    def __new__(cls, written: str) -> WrittenFloat:
        number = super().__new__(cls, written)
        number.written = written
        return number

    def __str__(self) -> str:
        return self.written


@dataclass(frozen=True)
class Document:
    """A file's content with the line, counted from 1, on which each value's key (or list entry) begins."""

    file: str
    data: dict[str, Any]
    lines: dict[KeyPath, int]

    def line(self, path: KeyPath) -> int:
        """The line of ``path``; of the nearest value around it where ``path`` itself is not in the file."""
        while path not in self.lines and path:
            path = path[:-1]
        return self.lines.get(path, 1)

    def value(self, path: KeyPath) -> Any:
        """The value at ``path``, or None."""
        found: Any = self.data
        for part in path:
            try:
                found = found[part]
            except (KeyError, IndexError, TypeError):
                return None
        return found


def read_file(path: Path) -> str:
    """The text of ``path``. Raises ``PolicyError`` if it cannot be read, is too large or is no UTF-8."""
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise PolicyError(
            str(path), None, f"cannot be read ({error.strerror}); check that the file exists and who may read it"
        ) from None
    try:
        return raw.decode("utf-8-sig") if len(raw) <= MAX_FILE_BYTES else _too_large(str(path))
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise PolicyError(str(path), line, "is not UTF-8 text; save the file as UTF-8") from None


def read_yaml(text: str, file: str) -> Document:
    """The one mapping in ``text``. Raises ``PolicyError`` with ``file`` and line for anything else."""
    if len(text.encode("utf-8", "surrogatepass")) > MAX_FILE_BYTES:
        _too_large(file)
    try:
        loader = _CoreLoader(text)
        root = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = " ".join(part for part in (error.context, error.problem) if part)
        raise PolicyError(file, mark.line + 1 if mark else None, f"is not YAML as read here: {said}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise PolicyError(file, line, "contains a control character or lone surrogate; remove it") from None
    except (ValueError, OverflowError):
        line = loader.get_mark().line + 1
        raise PolicyError(file, line, "contains an escape or number that YAML does not have; correct it") from None
    if not isinstance(root, yaml.MappingNode):
        raise PolicyError(file, 1, "holds no keys; write 'key: value' lines, see the other files in the folder")
    reading = _Reading(file)
    return Document(file=file, data=reading.mapping(root, ()), lines=reading.lines)


def _too_large(file: str) -> NoReturn:
    raise PolicyError(file, None, f"is larger than {MAX_FILE_BYTES // 1024} KiB; split or shorten it")


_RESOLVERS = {
    "": [(_TAG + "null", _NULL)],
    **{first: [(_TAG + "null", _NULL)] for first in "~nN"},
    **{first: [(_TAG + "bool", _BOOL)] for first in "tTfF"},
    **{first: [(_TAG + "int", _INT), (_TAG + "float", _FLOAT)] for first in "-+0123456789"},
    ".": [(_TAG + "float", _FLOAT)],
}
"""By first character, the plain scalars that are no text."""


class _CoreLoader(yaml.SafeLoader):
    """Composes nodes with the scalars of YAML 1.2's core and with limited depth; nothing is constructed by it."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.yaml_implicit_resolvers = _RESOLVERS
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            mark = parent.start_mark if parent is not None else None
            raise yaml.composer.ComposerError(
                None, None, f"nested deeper than {MAX_DEPTH} levels; write it flatter", mark
            )
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node


@dataclass
class _Reading:
    """One walk over a file's nodes."""

    file: str
    lines: dict[KeyPath, int] = field(default_factory=dict)
    values: int = 0

    def mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        self._enter(node, path)
        self._expect_tag(node, "map")
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = self._key(key_node)
            if key in found:
                first = self.lines[(*path, key)]
                raise self._refusal(key_node, f"key {key!r} is already written in line {first}; remove one of the two")
            self.lines[(*path, key)] = key_node.start_mark.line + 1
            found[key] = self._value(value_node, (*path, key))
        return found

    def _value(self, node: yaml.Node, path: KeyPath) -> Any:
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path)
        self._enter(node, path)
        if isinstance(node, yaml.SequenceNode):
            self._expect_tag(node, "seq")
            return [self._value(item, (*path, position)) for position, item in enumerate(node.value)]
        return self._scalar(node)

    def _enter(self, node: yaml.Node, path: KeyPath) -> None:
        self.values += 1
        self.lines.setdefault(path, node.start_mark.line + 1)
        if self.values > MAX_VALUES:
            raise self._refusal(node, f"stands for more than {MAX_VALUES} values; use fewer or smaller aliases (*name)")
        if len(path) > MAX_DEPTH:
            problem = "is an alias (*name) of something it is part of; write it out"
            raise PolicyError(self.file, self.lines[path], problem)

    def _key(self, node: yaml.Node) -> str:
        if not isinstance(node, yaml.ScalarNode) or node.tag != _TAG + "str":
            raise self._refusal(node, "a key must be text; put it in quotes")
        if node.value == "<<":
            raise self._refusal(node, "merge keys (<<) are not read; write the keys out")
        return self._text(node)

    def _scalar(self, node: yaml.Node) -> Any:
        match node.tag.removeprefix(_TAG):
            case "str":
                return self._text(node)
            case "null" if _NULL.match(node.value):
                return None
            case "bool" if _BOOL.match(node.value):
                return node.value.lower() == "true"
            case "int" if _INT.match(node.value):
                return self._whole(node)
            case "float" if _FLOAT.match(node.value):
                return self._decimal(node)
            case _:
                raise self._refusal(node, f"tag {node.tag.replace(_TAG, '!!')!r} does not fit here; remove it")

    def _text(self, node: yaml.Node) -> str:
        if _UNSTORABLE.search(node.value):
            raise self._refusal(node, "contains a NUL character or a lone surrogate; remove it")
        return str(node.value)

    def _whole(self, node: yaml.Node) -> int:
        if len(node.value) > _LONGEST_NUMBER or abs(int(node.value)) > MAX_SAFE_INTEGER:
            raise self._refusal(
                node, f"a whole number beyond {MAX_SAFE_INTEGER} cannot be carried exactly; write a smaller one"
            )
        return int(node.value)

    def _decimal(self, node: yaml.Node) -> WrittenFloat:
        if len(node.value) > _LONGEST_NUMBER or not math.isfinite(float(node.value)):
            raise self._refusal(node, "this number is too long or too large; write a shorter one")
        return WrittenFloat(node.value)

    def _expect_tag(self, node: yaml.Node, kind: str) -> None:
        if node.tag != _TAG + kind:
            raise self._refusal(node, f"tag {node.tag.replace(_TAG, '!!')!r} does not fit here; remove it")

    def _refusal(self, node: yaml.Node, problem: str) -> PolicyError:
        return PolicyError(self.file, node.start_mark.line + 1, problem)
