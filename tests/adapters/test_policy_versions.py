"""What makes a version of a policy and what does not, and that no content of a file breaks the loader."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from adapters.policy_files import load_catalog, parse_policy
from domain.catalog import Catalog
from domain.errors import PolicyError

SAMPLES = Path(__file__).parent / "policy_samples"
POLICY = (SAMPLES / "sample.yaml").read_text(encoding="utf-8")
CATALOG = (SAMPLES / "catalog.yaml").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog(SAMPLES / "catalog.yaml")


def _catalog(folder: Path, text: str) -> Catalog:
    path = folder / "catalog.yaml"
    path.write_text(text, encoding="utf-8")
    return load_catalog(path)


def _version(text: str, catalog: Catalog) -> str:
    return parse_policy(text, "sample.yaml", catalog).version


def _shuffled(value: Any, order: random.Random) -> Any:
    if isinstance(value, dict):
        keys = list(value)
        order.shuffle(keys)
        return {key: _shuffled(value[key], order) for key in keys}
    return [_shuffled(item, order) for item in value] if isinstance(value, list) else value


@given(seed=st.integers(), flow=st.booleans(), width=st.integers(20, 200))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_order_and_layout_make_no_version(catalog: Catalog, seed: int, flow: bool, width: int) -> None:
    data = _shuffled(yaml.safe_load(POLICY), random.Random(seed))
    text = "# a comment\n" + yaml.safe_dump(data, default_flow_style=flow, width=width, sort_keys=False)
    assert _version(text, catalog) == _version(POLICY, catalog)


@pytest.mark.parametrize(
    ("old", "new"),
    [("100.10", "100.1"), ("0.05", "0.0500"), ("0.05", "'0.05'"), ("24h", "1d"), ("0.8", "0.80"), ("0.8", "8e-1"),
     ("  - model: cheap", "  - {model: cheap, name: cheap, max_attempts: 3}"), ("sample", '"sample" # so called')],
)  # fmt: skip
def test_another_spelling_makes_no_version(catalog: Catalog, old: str, new: str) -> None:
    assert old in POLICY
    assert _version(POLICY.replace(old, new, 1), catalog) == _version(POLICY, catalog)


@pytest.mark.parametrize(
    ("old", "new"),
    [("100.10", "100.11"), ("0.05", "0.06"), ("24h", "25h"), ("0.8", "0.81"), ("gold", "silver"), ("wait.", "wait!"),
     ("attempts: 4", "attempts: 5"), ("minimum: 0.5", "minimum: 0.6"), ("on_fail: refuse", "on_fail: hold"),
     ("  - model: cheap", "  - model: cheap\n    system: Be brief."), ("name: sample", "name: sample2")],
)  # fmt: skip
def test_another_value_makes_a_version(catalog: Catalog, old: str, new: str) -> None:
    assert old in POLICY
    assert _version(POLICY.replace(old, new, 1), catalog) != _version(POLICY, catalog)


def test_the_models_of_the_stages_belong_to_the_version_and_others_do_not(tmp_path: Path, catalog: Catalog) -> None:
    before = _version(POLICY, catalog)
    assert _version(POLICY, _catalog(tmp_path, CATALOG.replace("0.60", "0.6"))) == before
    assert _version(POLICY, _catalog(tmp_path, CATALOG.replace("0.60", "0.61"))) != before
    third = CATALOG[CATALOG.index("  - name: strong") : CATALOG.index("verifiers:")].replace("strong", "third")
    assert _version(POLICY, _catalog(tmp_path, CATALOG.replace("verifiers:", third + "verifiers:"))) == before


# Anything at all

_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["24h", "hold", "0.5", "1e9999999999", "cheap", "nan", "-0", "P1D", "P", "#/x", "2026-01-01"]),
)
_KEYS = st.one_of(
    st.sampled_from(
        ["name", "model", "stages", "routing", "select", "when", "context", "context_over", "guardrails", "input",
         "output", "check", "json_schema", "bounds", "field", "max", "hold", "expires_after", "ceilings", "cost_usd",
         "$ref", "properties", "type", "pattern", "safe_output", "threshold", "calibration", "default"]
    ),
    st.text(max_size=4),
)  # fmt: skip
_TREES = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=4), max_leaves=12
)


@given(
    text=st.text(
        alphabet=st.one_of(st.characters(), st.sampled_from(list("-:{}[]&*!|>'\"%@` \n#?,0a\\x"))), max_size=60
    )
)
@example("a: !<tag:yaml.org,2002:map> x")
@example("%YAML 9" + "9" * 5000 + ".1\n---\na: 1")
@example("a: !!null x")
@example("a: !!seq {}")
@example("a: 0x1F\nb: 1_0")
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_is_a_policy_error_at_worst(catalog: Catalog, text: str) -> None:
    with pytest.raises(PolicyError):
        parse_policy(text, "x.yaml", catalog)


@given(part=st.sampled_from(["stages", "routing", "guardrails", "risk", "hold", "ceilings", "name"]), tree=_TREES)
@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_tree_in_a_policy_is_a_policy_error_at_worst(catalog: Catalog, part: str, tree: Any) -> None:
    text = yaml.safe_dump({**yaml.safe_load(POLICY), part: tree}, allow_unicode=True)
    with contextlib.suppress(PolicyError):
        snapshot = parse_policy(text, "x.yaml", catalog)
        assert type(snapshot).model_validate_json(snapshot.model_dump_json()) == snapshot


@given(key=st.sampled_from(["json_schema", "bounds", "when", "calibration"]), tree=_TREES)
@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_tree_deep_inside_is_a_policy_error_at_worst(catalog: Catalog, key: str, tree: Any) -> None:
    data = yaml.safe_load(POLICY)
    if key == "when":
        data["routing"]["select"][0]["when"] = tree
    else:
        position = {"calibration": 0, "json_schema": 1, "bounds": 2}[key]
        data["guardrails"]["output"][position][key] = tree
    with contextlib.suppress(PolicyError):
        snapshot = parse_policy(yaml.safe_dump(data, allow_unicode=True), "x.yaml", catalog)
        assert type(snapshot).model_validate_json(snapshot.model_dump_json()) == snapshot
