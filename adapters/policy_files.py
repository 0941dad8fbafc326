"""Policies and the model catalog as files: read, checked, pinned to a version, and from then on unchangeable.

Whoever edits a file finds out here, before any request does: every error names file, line and remedy. A running process
never sees an edited file; a restart loads it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from decimal import Context, Decimal
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import rfc8785
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, best_match
from pydantic import BaseModel
from referencing import Registry, Resource
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from adapters.hold_problems import hold_problems
from adapters.policy_problems import Problem, closest, listed, refuse, validated
from adapters.yaml_lines import MAX_SAFE_INTEGER, Document, KeyPath, read_file, read_yaml
from domain.catalog import Catalog, ModelEntry
from domain.errors import PolicyError
from domain.guardrails import ExternalGuardrail, SchemaGuardrail
from domain.policy import Policy, PolicySnapshot
from domain.usage import Usage

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_ENDINGS = (".yaml", ".yml")
_DURATION = r"^(\d+(\.\d+)?(ms|s|m|h|d)|P.+)$"
_MAX_DIGITS = 100
_CHANNEL_KINDS = ("webhook", "slack", "email")
_Model = TypeVar("_Model", bound=BaseModel)


class PolicyStore:
    """The policy versions a process works with, by name. Loaded once and never changed."""

    def __init__(self, snapshots: Iterable[PolicySnapshot]) -> None:
        self._snapshots = {snapshot.policy.name: snapshot for snapshot in snapshots}

    def snapshot(self, name: str) -> PolicySnapshot | None:
        """The version of the policy called ``name``, or None."""
        return self._snapshots.get(name)

    def names(self) -> tuple[str, ...]:
        """All policy names in alphabetical order."""
        return tuple(sorted(self._snapshots))


def load_catalog(path: Path | str) -> Catalog:
    """The catalog in the file ``path``. Raises ``PolicyError`` with file, line and remedy."""
    document = read_yaml(read_file(Path(path)), str(path))
    _refuse_any(document, _kind_problems(document))
    catalog = validated(document, Catalog)
    _refuse_any(document, _catalog_problems(catalog))
    return catalog


def load_policies(directory: Path | str, catalog: Catalog) -> PolicyStore:
    """Every policy in ``directory``: one per file, called like the file. A file called ``catalog`` is not one.

    Raises ``PolicyError`` with file, line and remedy for the first file that is wrong, and for a directory without any.
    """
    folder = Path(directory)
    if not folder.is_dir():
        raise PolicyError(str(folder), None, "is no directory; name the folder that holds the policy files")
    snapshots: dict[str, PolicySnapshot] = {}
    files = (file for file in folder.iterdir() if file.suffix in _ENDINGS and not file.name.startswith("."))
    for path in sorted(files):
        if path.stem == "catalog":
            continue
        document = read_yaml(read_file(path), str(path))
        snapshot = _snapshot(document, catalog)
        name = snapshot.policy.name
        if name in snapshots:
            refuse(document, [Problem(("name",), f"policy {name!r} is in two files; remove or rename one of them")])
        if name != path.stem:
            problem = f"is {name!r}, but the file is called {path.name}; rename one like the other"
            refuse(document, [Problem(("name",), problem)])
        snapshots[name] = snapshot
    if not snapshots:
        raise PolicyError(str(folder), None, "holds no policy; add one as <name>.yaml")
    return PolicyStore(snapshots.values())


def parse_policy(text: str, file: str, catalog: Catalog) -> PolicySnapshot:
    """The policy written in ``text``, pinned to its version. ``file`` is only named in errors.

    Raises ``PolicyError`` with file, line and remedy.
    """
    return _snapshot(read_yaml(text, file), catalog)


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a policy file, for editors that check and complete while one types.

    What needs more than one place of the file to judge, or the catalog, only loading finds.
    """
    schema = Policy.model_json_schema()
    for name, definition in schema["$defs"].items():
        if name == "Stage" or name.endswith("Guardrail"):
            definition["required"].remove("name")  # named after its model or check where it has no name of its own
    _for_files(schema)
    return {"$schema": _DRAFT, **schema, "title": "Sluice policy"}


def _for_files(node: Any) -> None:
    if isinstance(node, list):
        for item in node:
            _for_files(item)
    elif isinstance(node, dict):
        if node.get("format") == "duration":
            node.pop("format")
            node["pattern"] = _DURATION
        if isinstance(node.get("properties"), dict) and node.get("type") == "object":
            node["additionalProperties"] = False
        for item in node.values():
            _for_files(item)


def _snapshot(document: Document, catalog: Catalog) -> PolicySnapshot:
    policy = _settled(validated(document, Policy))
    _refuse_any(document, _model_problems(policy, catalog))
    models = tuple(_settled(entry) for stage in policy.stages if (entry := catalog.model_named(stage.model)))
    _refuse_any(
        document,
        chain(
            _callable_problems(policy, models),
            _verifier_problems(policy, catalog),
            hold_problems(policy.hold, catalog),
            _schema_problems(policy),
            _text_problems(policy),
        ),
    )
    return PolicySnapshot(policy=policy, models=models, version=_version(document, policy, models))


def _version(document: Document, policy: Policy, models: tuple[ModelEntry, ...]) -> str:
    content: dict[str, Any] = {
        "policy": policy.model_dump(mode="json"),
        "models": [model.model_dump(mode="json") for model in models],
    }
    try:
        canonical = rfc8785.dumps(content)
    except rfc8785.CanonicalizationError:
        path = next(_unsafe_integers(content["policy"], ()), ())
        text = f"a whole number beyond {MAX_SAFE_INTEGER} cannot be carried exactly; write a smaller one"
        refuse(document, [Problem(path, text)])
    return hashlib.sha256(canonical).hexdigest()[:16]


def _unsafe_integers(value: Any, path: KeyPath) -> Iterator[KeyPath]:
    if isinstance(value, int) and abs(value) > MAX_SAFE_INTEGER:
        yield path
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from _unsafe_integers(item, (*path, key))


def _settled(model: _Model) -> _Model:
    """``model`` with equal numbers written equally (0.60 as 0.6), so that a spelling makes no version of its own."""
    return type(model).model_validate(_plain(model.model_dump()))


def _plain(value: Any) -> Any:
    match value:
        case dict():
            return {key: _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case Decimal():
            return _shortest(value)
        case float():
            return float(value)  # no longer remembers how it was written
    return value


def _shortest(number: Decimal) -> Decimal:
    if not number:
        return Decimal(0)
    if abs(number.adjusted()) > _MAX_DIGITS or len(number.as_tuple().digits) > _MAX_DIGITS:
        return number
    exact = Context(prec=3 * _MAX_DIGITS)
    short = number.normalize(exact)
    return short.quantize(Decimal(1), context=exact) if short == short.to_integral_value() else short


def _refuse_any(document: Document, problems: Iterable[Problem]) -> None:
    found = list(problems)
    if found:
        refuse(document, found)


def _kind_problems(document: Document) -> Iterator[Problem]:
    """Channels of no known kind. Without its kind nothing else that is written about a channel can be judged."""
    channels = document.value(("channels",))
    for name, entry in channels.items() if isinstance(channels, dict) else ():
        if not isinstance(entry, dict):
            yield Problem(("channels", name), f"holds no keys; add kind: with one of {listed(_CHANNEL_KINDS)}")
        elif "kind" not in entry:
            yield Problem(("channels", name, "kind"), f"is missing; add kind: with one of {listed(_CHANNEL_KINDS)}")
        elif entry["kind"] not in _CHANNEL_KINDS:
            near = closest(str(entry["kind"]), _CHANNEL_KINDS)
            text = f"is no kind of channel; {near}kinds are {listed(_CHANNEL_KINDS)}"
            yield Problem(("channels", name, "kind"), text)


def _catalog_problems(catalog: Catalog) -> Iterator[Problem]:
    seen: set[str] = set()
    for position, model in enumerate(catalog.models):
        if model.name in seen:
            yield Problem(
                ("models", position, "name"), f"two models are called {model.name!r}; give each a name of its own"
            )
        seen.add(model.name)
        if model.provider not in catalog.providers:
            near = closest(model.provider, catalog.providers)
            text = f"no provider is called {model.provider!r}; {near}providers are {listed(catalog.providers)}"
            yield Problem(("models", position, "provider"), text)


def _model_problems(policy: Policy, catalog: Catalog) -> Iterator[Problem]:
    names = [model.name for model in catalog.models]
    for position, stage in enumerate(policy.stages):
        if stage.model not in names:
            text = f"the catalog has no model {stage.model!r}; {closest(stage.model, names)}models are {listed(names)}"
            yield Problem(("stages", position, "model"), text)


def _callable_problems(policy: Policy, models: tuple[ModelEntry, ...]) -> Iterator[Problem]:
    """Stages that no request could ever reach because a single call is beyond a limit."""
    for position, (stage, model) in enumerate(zip(policy.stages, models, strict=True)):
        path = ("stages", position, "max_output_tokens")
        usage = Usage(output_tokens=stage.max_output_tokens)
        cost = model.price.cost(usage)
        unreachable = f"stage {stage.name!r} is unreachable: its longest answer"
        if cost > policy.ceilings.cost_usd:
            yield Problem(
                path,
                f"{unreachable} costs {cost:f} USD, more than the ceiling of {policy.ceilings.cost_usd:f} USD; lower "
                "max_output_tokens or raise ceilings.cost_usd",
            )
        if usage.total > policy.ceilings.tokens:
            yield Problem(
                path,
                f"{unreachable} has {usage.total} tokens, more than the ceiling of {policy.ceilings.tokens}; lower "
                "max_output_tokens or raise ceilings.tokens",
            )
        if usage.total > model.context_window:
            yield Problem(
                path,
                f"{unreachable} has {usage.total} tokens, more than the context window of {model.name} "
                f"({model.context_window}); lower max_output_tokens",
            )


def _verifier_problems(policy: Policy, catalog: Catalog) -> Iterator[Problem]:
    for part, guardrails in (("input", policy.guardrails.input), ("output", policy.guardrails.output)):
        for position, guardrail in enumerate(guardrails):
            if isinstance(guardrail, ExternalGuardrail) and guardrail.verifier not in catalog.verifiers:
                near = closest(guardrail.verifier, catalog.verifiers)
                yield Problem(
                    ("guardrails", part, position, "verifier"),
                    f"the catalog has no verifier {guardrail.verifier!r}; {near}verifiers are "
                    f"{listed(catalog.verifiers)}",
                )


def _schema_problems(policy: Policy) -> Iterator[Problem]:
    for part, guardrails in (("input", policy.guardrails.input), ("output", policy.guardrails.output)):
        for position, guardrail in enumerate(guardrails):
            if isinstance(guardrail, SchemaGuardrail):
                path = ("guardrails", part, position, "json_schema")
                yield from _json_schema_problems(guardrail.json_schema, path)


def _json_schema_problems(schema: dict[str, Any], path: KeyPath) -> Iterator[Problem]:
    errors = Draft202012Validator(
        Draft202012Validator.META_SCHEMA, format_checker=Draft202012Validator.FORMAT_CHECKER
    ).iter_errors(schema)
    worst: SchemaError | None = best_match(errors)
    if worst is not None:
        text = f"is no JSON Schema (draft 2020-12): {worst.message}; correct it"
        yield Problem((*path, *worst.absolute_path), text)
        return
    resolver = Registry().resolver_with_root(Resource.from_contents(schema, default_specification=DRAFT202012))
    for at, keyword, value in _keywords(schema, path):
        if keyword == "$schema" and value.rstrip("#") != _DRAFT:
            yield Problem(at, f"answers are checked by draft 2020-12; write {_DRAFT} or leave it out")
        elif keyword == "$id":
            yield Problem(at, "gives the schema an address, which nothing here reads; remove it")
        elif keyword in ("$ref", "$dynamicRef"):
            if not value.startswith("#"):
                yield Problem(at, "refers to another document, which is never fetched; copy it under $defs")
                continue
            try:
                resolver.lookup(value)
            except Unresolvable:
                yield Problem(at, f"refers to {value!r}, which this schema does not have; correct it or add it")


def _keywords(node: Any, path: KeyPath) -> Iterator[tuple[KeyPath, str, str]]:
    entries: Iterable[tuple[str | int, Any]] = ()
    if isinstance(node, dict):
        entries = node.items()
    elif isinstance(node, list):
        entries = enumerate(node)
    for key, value in entries:
        if isinstance(key, str) and key.startswith("$") and isinstance(value, str):
            yield (*path, key), key, value
        yield from _keywords(value, (*path, key))


def _text_problems(policy: Policy) -> Iterator[Problem]:
    for key in ("safe_output", "interim_output"):
        if not getattr(policy, key).strip():
            yield Problem((key,), "is empty; write a text that is always right to send")
