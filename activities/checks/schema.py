"""Is the answer JSON of the demanded shape? JSON Schema, draft 2020-12; ``format`` is an annotation, as the draft says.

A ``$ref`` resolves only inside the schema and to the drafts themselves: nothing is fetched, whatever a policy names.
A fenced answer fails: its fence would be released with it, and the receiver could not parse that.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any

from activities.checks.results import MOST_FINDINGS, failed_or_passed, result
from activities.checks.strict_json import NotJsonError, parse
from domain.guardrails import CheckResult, Finding, Judged, SchemaGuardrail, Verdict

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError

# jsonschema takes a fifth of a second to import, and Workflow files import the names of the Activities: so it is
# imported only where it is used.

_LONGEST_DEMAND = 80


class _BrokenSchemaError(ValueError):
    """The policy's schema is no schema. The message says where."""


def check(guardrail: SchemaGuardrail, judged: Judged) -> CheckResult:
    """Validate the text against the policy's schema. A schema that is broken or refers elsewhere is an error."""
    from referencing.exceptions import Unresolvable

    try:
        value = parse(judged.text)
    except NotJsonError as error:
        return failed_or_passed(guardrail, [Finding(kind="json", detail=str(error))], "")
    names = frozenset(_property_names(guardrail.json_schema))
    try:
        validator = _validator(json.dumps(guardrail.json_schema))
        errors = list(islice(validator.iter_errors(value), MOST_FINDINGS))
    except _BrokenSchemaError as error:
        return result(guardrail, Verdict.ERROR, str(error))
    except Unresolvable:
        why = "the policy's json_schema has a '$ref' that leads outside it; put what it means under '$defs'"
        return result(guardrail, Verdict.ERROR, why)
    except RecursionError:
        return result(guardrail, Verdict.ERROR, "the policy's json_schema refers to itself without end on this answer")
    return failed_or_passed(
        guardrail, [_finding(error, names) for error in errors], "the answer is JSON that satisfies the schema"
    )


@lru_cache(maxsize=64)
def _validator(schema_json: str) -> Any:
    from jsonschema import Draft202012Validator, SchemaError, validators
    from referencing import Registry

    schema = json.loads(schema_json)
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise _BrokenSchemaError(
            f"the policy's json_schema is not JSON Schema draft 2020-12: see '{error.json_path}'"
        ) from None
    extend: Any = validators.extend  # has no types
    registry: Any = Registry()  # retrieves nothing; the library's default one would fetch a '$ref' over the network
    return extend(Draft202012Validator, {"uniqueItems": _unique_items})(schema, registry=registry)


def _unique_items(validator: Any, wanted: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    """``uniqueItems`` in linear time; the library compares every pair of objects."""
    from jsonschema.exceptions import ValidationError

    if wanted and isinstance(instance, list):
        seen = {_identity(item) for item in instance}
        if len(seen) != len(instance):
            yield ValidationError("has equal elements")


def _identity(value: Any) -> Any:
    """Equal for values that JSON Schema calls equal: 1 is 1.0 but not true, and the order of keys does not count."""
    if isinstance(value, dict):
        return "object", frozenset((key, _identity(item)) for key, item in value.items())
    if isinstance(value, list):
        return "array", tuple(_identity(item) for item in value)
    if isinstance(value, bool):
        return "boolean", value
    return "number" if isinstance(value, int | float) else "other", value


def _property_names(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        properties = schema.get("properties")
        if isinstance(properties, dict):
            yield from properties
        for part in schema.values():
            yield from _property_names(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from _property_names(part)


def _finding(error: ValidationError, names: frozenset[str]) -> Finding:
    where = "".join(f"[{step}]" if isinstance(step, int) else _step(step, names) for step in error.absolute_path)
    return Finding(kind="schema", detail=f"${where} {_demand(error)}")


def _step(key: Any, names: frozenset[str]) -> str:
    # A key that the schema does not name was invented by the model and may be personal data itself.
    return f".{key}" if key in names else ".(other key)"


def _demand(error: ValidationError) -> str:
    """What the schema demands, in words of the schema alone: the library's messages repeat the answer's values."""
    keyword: Any = error.validator
    wanted: Any = error.validator_value
    match keyword:
        case None:
            return "is not allowed"
        case "required":
            missing = [name for name in wanted if isinstance(error.instance, dict) and name not in error.instance]
            return f"lacks {', '.join(missing)}"
        case "additionalProperties" | "unevaluatedProperties":
            return "has a key that is not allowed"
        case "uniqueItems":
            return "has equal elements"
    shown = json.dumps(wanted, ensure_ascii=False)
    return f"does not satisfy {keyword}" + (f" {shown}" if len(shown) <= _LONGEST_DEMAND else "")
