"""What is wrong with a policy or catalog file, in words its author can act on: file, line, key, problem, remedy.

Messages never repeat a value that was refused, since a key pasted into the wrong place would then be in a log.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, NamedTuple, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError

from adapters.yaml_lines import Document, KeyPath
from domain.errors import PolicyError

_MOST_SHOWN = 10
_ALIKE = 0.5
"""From this similarity on (0 to 1) a name is taken for a mistyped other one."""
_Model = TypeVar("_Model", bound=BaseModel)

_MISSING = {
    "expires_after": "a hold without an expiry waits for ever; add expires_after, for example 24h",
    "hold": "a hold without an expiry waits for ever; add hold: with expires_after, for example 24h",
    "price": "a stage without a price cannot be budgeted; add price: {input: …, output: …} in USD per million tokens",
    "ceilings": "a request without ceilings may cost anything; add ceilings: with cost_usd, wall_clock, attempts and "
    "tokens",
    "safe_output": "nothing could be sent when no answer may be released; add safe_output: with a text that is always "
    "right to send",
    "interim_output": "chat clients would get no word while an answer waits for a person; add interim_output: with a "
    "text that says so",
}
_PATTERNS = {
    "^[A-Z]": "must name an environment variable such as OPENAI_API_KEY; never write a key or an address here",
    "^https?": "must begin with http:// or https://",
    "^[a-z0-9]": "must be a name of lower-case letters, digits, dot, dash and underscore, 64 characters at most",
    "^[A-Z]{2}": "must be a country in two capital letters, such as US",
}
_LISTS = (
    ("routing names stage", ("routing", "select")),
    ("the routing rule", ("routing", "select")),
    ("input guardrail", ("guardrails", "input")),
    ("two entries of input guardrail", ("guardrails", "input")),
    ("two entries of output guardrail", ("guardrails", "output")),
    ("two entries of stage", ("stages",)),
    ("stage", ("stages",)),
)
"""How the domain's own objections begin, and the list in the file they are about."""


class Problem(NamedTuple):
    """One thing that is wrong. ``path`` is the key it is about, whether or not the file has it."""

    path: KeyPath
    text: str


def refuse(document: Document, problems: Iterable[Problem]) -> NoReturn:
    """Raise one ``PolicyError`` for all of ``problems``, the first in the file leading."""
    ordered = sorted(problems, key=lambda problem: document.line(problem.path))
    said = [(document.line(path), f"{_dotted(path)}{text}") for path, text in ordered]
    more = [f"{document.file}:{line}: {text}" for line, text in said[1:_MOST_SHOWN]]
    if len(said) > _MOST_SHOWN:
        more.append(f"and {len(said) - _MOST_SHOWN} more")
    raise PolicyError(document.file, said[0][0], "\n".join([said[0][1], *more]))


def validated(document: Document, model: type[_Model]) -> _Model:
    """The file's content as ``model``, unknown keys refused. Raises ``PolicyError``."""
    try:
        return model.model_validate(document.data, extra="forbid")
    except ValidationError as error:
        refuse(document, _problems(document, model, error))


def closest(name: str, known: Iterable[str]) -> str:
    """What ``name`` may have been meant to be, as the beginning of a remedy; empty if nothing is near."""
    match = difflib.get_close_matches(name, list(known), n=1, cutoff=_ALIKE)
    return f"did you mean {match[0]!r}? " if match else ""


def listed(names: Iterable[str]) -> str:
    """``names`` in their order, for the end of a sentence."""
    return ", ".join(names) or "none"


def _dotted(path: KeyPath) -> str:
    return ".".join(str(part) for part in path) + ": " if path else ""


@cache
def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema()


def _problems(document: Document, model: type[BaseModel], error: ValidationError) -> list[Problem]:
    schema = _schema(model)
    found: dict[KeyPath, list[str]] = {}
    kinds: dict[KeyPath, str] = {}
    for detail in error.errors(include_url=False, include_input=False):
        problem = _problem(document, schema, detail["type"], detail["loc"], detail["msg"], detail.get("ctx", {}))
        texts = found.setdefault(problem.path, [])
        if problem.text not in texts:
            texts.append(problem.text)
        kinds[problem.path] = detail["type"]
    for path in [path for path in found if _follows(path, kinds)]:
        del found[path]
    return [Problem(path, "; or ".join(texts)) for path, texts in found.items()]


def _follows(path: KeyPath, kinds: dict[KeyPath, str]) -> bool:
    """Whether the problem at ``path`` is only the consequence of another one, which says more."""
    if kinds[path] == "too_short":  # entries with a problem of their own are not counted
        return any(len(other) > len(path) and other[: len(path)] == path for other in kinds)
    if kinds[path] == "missing":
        beside = [other for other in kinds if len(other) == len(path) and other[:-1] == path[:-1]]
        mistyped = [str(other[-1]) for other in beside if kinds[other] == "extra_forbidden"]
        nameless = path[-1] == "name" and any(other[-1] == "model" for other in beside)
        return nameless or bool(difflib.get_close_matches(str(path[-1]), mistyped, n=1, cutoff=_ALIKE))
    return False


def _problem(
    document: Document, schema: dict[str, Any], kind: str, loc: Sequence[str | int], said: str, context: dict[str, Any]
) -> Problem:
    path = _path(document, loc, kind == "missing")
    value = document.value(path)
    match kind:
        case "missing":
            return Problem(path, _MISSING.get(str(path[-1]), f"is missing; add {path[-1]}: with its value"))
        case "extra_forbidden":
            known = _keys_at(schema, path[:-1], document)
            return Problem(path, f"unknown key; {closest(str(path[-1]), known)}known keys here are {listed(known)}")
        case "union_tag_not_found":
            return Problem((*path, "check"), f"is missing; add check: with one of {listed(_checks(schema))}")
        case "union_tag_invalid":
            checks = _checks(schema)
            named = str(document.value((*path, "check")))
            return Problem((*path, "check"), f"is no check; {closest(named, checks)}checks are {listed(checks)}")
        case "enum" | "literal_error":
            near = closest(str(value), re.findall(r"'([^']*)'", str(context.get("expected"))))
            return Problem(path, f"{near}it must be {context.get('expected')}")
        case "value_error":
            text = said.removeprefix("Value error, ")
            return Problem(path or _place(document, text), text)
        case "string_pattern_mismatch":
            return Problem(path, _pattern(str(context.get("pattern"))))
        case "string_type" if isinstance(value, int | float):
            return Problem(path, "must be text; put it in quotes")
    return Problem(path, said.replace("Input should", "should").replace("Tuple should", "should"))


def _pattern(pattern: str) -> str:
    fitting = [start for start in _PATTERNS if pattern.startswith(start)]
    return _PATTERNS[max(fitting, key=len)] if fitting else f"must match {pattern}"


def _path(document: Document, loc: Sequence[str | int], missing: bool) -> KeyPath:
    """``loc`` as a path in the file: pydantic also names the members of unions it tried."""
    path: KeyPath = ()
    for position, part in enumerate(loc):
        here = document.value(path)
        if position == 3 and path[:1] == ("guardrails",) and isinstance(here, dict) and here.get("check") == part:
            continue
        inside = (isinstance(here, dict) and part in here) or (isinstance(here, list) and isinstance(part, int))
        if inside or (missing and position == len(loc) - 1):
            path = (*path, part)
    return path


def _place(document: Document, message: str) -> KeyPath:
    """The entry of a list that an objection of the domain to the whole policy is about; the last one it fits."""
    for start, path in _LISTS:
        if not message.startswith(start):
            continue
        best, where = 0, path
        for position, entry in enumerate(document.value(path) or ()):
            named = [repr(entry.get(key)) for key in ("name", "model", "start_at", "check")]
            score = sum(text in message for text in [*named, f"({entry.get('because')})"])
            if score and score >= best:
                best, where = score, (*path, position)
        return where
    return ()


def _checks(schema: dict[str, Any]) -> list[str]:
    mapping: dict[str, str] = schema["$defs"]["Guardrails"]["properties"]["output"]["items"]["discriminator"]["mapping"]
    return list(mapping)


def _keys_at(schema: dict[str, Any], path: KeyPath, document: Document) -> list[str]:
    """The keys that the mapping at ``path`` may have."""
    node = _described(schema, schema, document.data)
    for position, part in enumerate(path):
        if isinstance(part, int):
            node = node.get("items", {})
        else:
            patterns = next(iter(node.get("patternProperties", {}).values()), None)
            node = node.get("properties", {}).get(part) or patterns or node.get("additionalProperties") or {}
        node = _described(schema, node, document.value(path[: position + 1]))
    return list(node.get("properties", ()))


def _described(schema: dict[str, Any], node: dict[str, Any], value: Any) -> dict[str, Any]:
    while True:
        if "discriminator" in node:
            tag = value.get(node["discriminator"]["propertyName"]) if isinstance(value, dict) else None
            node = {"$ref": node["discriminator"]["mapping"].get(tag, "")}
        if "anyOf" in node:
            node = next((choice for choice in node["anyOf"] if "$ref" in choice), {})
        if "$ref" not in node:
            return node
        node = schema["$defs"].get(node["$ref"].removeprefix("#/$defs/"), {})
