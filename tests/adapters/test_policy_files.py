"""Policies and catalog as files: what loads, what is refused and in which words, and what makes a version."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from adapters.policy_files import load_catalog, load_policies, parse_policy
from adapters.yaml_lines import MAX_FILE_BYTES
from domain.catalog import Catalog
from domain.errors import PolicyError
from domain.guardrails import Action, BoundsGuardrail, SchemaGuardrail

SAMPLES = Path(__file__).parent / "policy_samples"
CATALOG = (SAMPLES / "catalog.yaml").read_text(encoding="utf-8")
CHANNELS = "channels:\n  sales: {kind: slack, url_env: SALES_SLACK_URL}\n"
POLICY = (SAMPLES / "sample.yaml").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    return _catalog(tmp_path_factory.mktemp("catalog"), CATALOG + CHANNELS)


def _catalog(folder: Path, text: str) -> Catalog:
    path = folder / "catalog.yaml"
    path.write_text(text, encoding="utf-8")
    return load_catalog(path)


def _line(text: str, start: str) -> int:
    return next(number for number, line in enumerate(text.splitlines(), 1) if line.strip().startswith(start))


def _refused(text: str, catalog: Catalog, line: int | None, *said: str) -> PolicyError:
    with pytest.raises(PolicyError) as caught:
        parse_policy(text, "policies/sample.yaml", catalog)
    error = caught.value
    assert error.file == "policies/sample.yaml"
    assert error.line == line, str(error)
    assert str(error).startswith(f"policies/sample.yaml:{line}: " if line else "policies/sample.yaml: ")
    for part in said:
        assert part in error.problem, error.problem
    return error


# What loads


def test_a_policy_is_read_with_the_models_of_its_stages(catalog: Catalog) -> None:
    snapshot = parse_policy(POLICY, "sample.yaml", catalog)
    assert [stage.name for stage in snapshot.policy.stages] == ["cheap", "strong"]
    assert [model.id for model in snapshot.models] == ["cheap-1", "strong-1"]
    assert snapshot.baseline.name == "strong"
    assert snapshot.policy.guardrails.output[1].on_fail is Action.HOLD


def test_prices_and_bounds_are_exactly_what_was_written(tmp_path: Path) -> None:
    prices = CATALOG.replace("0.15", "0.123456789012345").replace("0.60", "123456.789012345678901")
    catalog = _catalog(tmp_path, prices)
    assert catalog.models[0].price.input == Decimal("0.123456789012345")
    assert catalog.models[0].price.output == Decimal("123456.789012345678901")
    policy = parse_policy(POLICY.replace("0.05", "1000.1"), "sample.yaml", catalog).policy
    assert policy.ceilings.cost_usd == Decimal("1000.1")
    bounds = policy.guardrails.output[2]
    assert isinstance(bounds, BoundsGuardrail)
    assert str(bounds.bounds[0].max) == "100.1"


def test_numbers_outside_of_prices_stay_plain_floats(catalog: Catalog) -> None:
    schema = parse_policy(POLICY, "sample.yaml", catalog).policy.guardrails.output[1]
    assert isinstance(schema, SchemaGuardrail)
    minimum = schema.json_schema["properties"]["total"]["minimum"]
    assert type(minimum) is float
    assert minimum == 0.5


def test_words_of_yaml_1_1_are_text(catalog: Catalog) -> None:
    text = POLICY.replace("- check: pii\n", "- check: pii\n      regions: [NO, US]\n", 1)
    text = text.replace("tier: gold", "tier: yes, opened: 12:30, since: 2026-11-01")
    policy = parse_policy(text, "sample.yaml", catalog).policy
    assert policy.guardrails.input[0].model_dump()["regions"] == ("NO", "US")
    assert policy.routing.select[0].when.context == {"tier": "yes", "opened": "12:30", "since": "2026-11-01"}


def test_a_snapshot_survives_the_journey_through_a_history(catalog: Catalog) -> None:
    snapshot = parse_policy(POLICY, "sample.yaml", catalog)
    assert type(snapshot).model_validate_json(snapshot.model_dump_json()) == snapshot


# What is refused, line by line


@pytest.mark.parametrize(
    ("old", "new", "start", "said"),
    [
        ("on_fail: refuse", "on_fial: refuse", "on_fial",
         ("guardrails.input.0.on_fial", "'on_fail'", "known keys here")),
        ("max_output_tokens", "max_tokens", "max_tokens", ("stages.1.max_tokens", "did you mean 'max_output_tokens'")),
        ("safe_output: N", "unsafe_output: N", "unsafe_output", ("unknown key; did you mean 'safe_output'",)),
        ("{tier: gold}}", "{tier: gold}, contxt: {a: 1}}", "- when", ("select.0.when.contxt", "'context'")),
        ("  expires_after: 24h", "  queue: q", "hold:",
         ("hold.expires_after", "waits for ever; add expires_after, for example 24h")),
        ("  attempts: 4\n", "", "ceilings:", ("ceilings.attempts: is missing; add attempts",)),
        ("  - model: cheap", "  - name: cheap", "- name: cheap", ("stages.0.model: is missing",)),
        ("threshold: 0.8", "threshold: 1.8", "threshold", ("guardrails.output.0.threshold", "less than or equal to 1")),
        ("on_fail: escalate", "on_fail: esclate", "on_fail: esclate", ("did you mean 'escalate'? it must be",)),
        ("check: confidence", "check: confidnce", "- check: confidnce",
         ("output.0.check", "did you mean 'confidence'?")),
        ("- check: confidence\n      thr", "- thr", "- threshold",
         ("output.0.check: is missing; add check: with one of",)),
        ("expires_after: 24h", "expires_after: 24", "expires_after", ("24 has no unit; write a duration such as 90s",)),
        ("expires_after: 24h", "expires_after: P400D", "expires_after", ("hold.expires_after: a duration must be",)),
        ("expires_after: 24h", "expires_after: 9999999999999d", "expires_after", ("at most 366 days",)),
        ("expires_after: 24h", "expires_after: soon", "expires_after", ("'soon' is not a duration",)),
        ("cost_usd: 0.05", "cost_usd: -1", "cost_usd", ("ceilings.cost_usd", "greater than or equal to 0")),
        ("name: sample", "name: 7", "name", ("name: must be text; put it in quotes",)),
        ("name: sample", "name: A b", "name", ("name of lower-case letters",)),
        ("{tier: gold}", "{tier: {a: 1}}", "- when", ("routing.select.0.when.context.tier", "valid string")),
        ("attempts: 4", "attempts: four", "attempts", ("ceilings.attempts", "valid integer")),
        ("attempts: 4", "attempts: 12345678901234567890", "attempts", ("cannot be carried exactly",)),
        ("tokens: 10000", "tokens: '12345678901234567890'", "tokens", ("cannot be carried exactly",)),
        ("model: cheap", "model: cheep", "- model: cheep",
         ("no model 'cheep'; did you mean 'cheap'?", "cheap, strong")),
        ("verifier: citations", "verifier: citation", "verifier", ("no verifier", "did you mean 'citations'?")),
        ("expires_after: 24h", "expires_after: 24h\n  channels: [sals]", "channels",
         ("hold.channels.0", "no channel 'sals'; did you mean 'sales'?")),
        ("expires_after: 24h", "expires_after: 24h\n  ladder: [{after: 1h, do: notify, channels: [x]}]", "ladder",
         ("hold.ladder.0.channels.0", "channels are sales")),
        ("expires_after: 24h", "expires_after: 24h\n  hours: {timezone: Europe/Atlantis}", "hours",
         ("hold.hours.timezone", "no time zone 'Europe/Atlantis'")),
        ("start_at: strong", "start_at: weak", "- when",
         ("routing.select.0: routing names stage 'weak'", "cheap, strong")),
        ("  select:", "  default: strong\n  select:", "- model: cheap", ("stages.0: stage 'cheap' is unreachable",)),
        ("on_fail: refuse", "on_fail: escalate", "- check: pii",
         ("guardrails.input.0: input guardrail", "no answer exists")),
        ("check: external\n      verifier: citations", "check: bounds\n      bounds: [{field: a, max: 1}]",
         "- check: bounds",
         ("called 'bounds'; give each",)),
        ("type: number", "type: nomber", "total:", ("json_schema.properties.total.type: is no JSON Schema",)),
        ("type: number", "$ref: 'http://127.0.0.1/x'", "total:", ("total.$ref", "never fetched; copy it under $defs")),
        ("type: number", "$ref: '#/$defs/money'", "total:", ("refers to '#/$defs/money'", "correct it or add it")),
        ("type: number", "pattern: '('", "total:", ("is no JSON Schema",)),
        ("type: object", "$schema: http://json-schema.org/draft-07/schema#", "$schema", ("draft 2020-12",)),
        ("type: object", "$id: https://127.0.0.1/", "$id", ("remove it",)),
        ("Please wait.", "' '", "interim_output", ("interim_output: is empty; write a text",)),
        ("max_output_tokens: 500", "max_output_tokens: 5000", "max_output_tokens",
         ("costs 0.1 USD", "ceiling of 0.05 USD", "lower max_output_tokens")),
        ("tokens: 10000", "tokens: 300", "- model: cheap", ("1024 tokens, more than the ceiling of 300",)),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_line_and_a_remedy(
    catalog: Catalog, old: str, new: str, start: str, said: tuple[str, ...]
) -> None:
    assert old in POLICY
    text = POLICY.replace(old, new, 1) if not old.startswith("tokens") else POLICY.replace("  " + old, "  " + new)
    lines = [number for number, line in enumerate(text.splitlines(), 1) if line.strip().startswith(start)]
    line = lines[-1] if start == "- check: bounds" else lines[0]
    _refused(text, catalog, line, *said)


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (
            "hold:\n  expires_after: 24h\n",
            "hold: a hold without an expiry waits for ever; add hold: with expires_after",
        ),
        ("safe_output: Nothing can be said.\n", "safe_output: nothing could be sent"),
        ("interim_output: Please wait.\n", "interim_output: chat clients would get no word"),
    ],
)
def test_a_missing_part_is_named_at_the_top(catalog: Catalog, part: str, said: str) -> None:
    _refused(POLICY.replace(part, ""), catalog, 1, said)


def test_an_unreachable_rule_is_named_where_it_stands(catalog: Catalog) -> None:
    again = "    - when: {context: {tier: gold}}\n      start_at: strong\n      because: never asked\n"
    text = POLICY.replace("guardrails:\n", again + "guardrails:\n")
    line = _line(text, "because: never asked") - 2
    _refused(text, catalog, line, "routing.select.1: the routing rule", "never asked", "remove it or move it up")


def test_several_mistakes_are_one_error_in_the_order_of_the_file(catalog: Catalog) -> None:
    text = POLICY.replace("threshold: 0.8", "threshold: 8").replace("name: sample", "name: sample\nnmae: x")
    error = _refused(text, catalog, 2, "nmae: unknown key; did you mean 'name'?")
    assert f"policies/sample.yaml:{_line(text, 'threshold')}: guardrails.output.0.threshold" in error.problem


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("", 1, "holds no keys"),
        ("- a\n- b\n", 1, "holds no keys"),
        ("a: 1\nb: 2\na: 3\n", 3, "key 'a' is already written in line 1; remove one of the two"),
        ("a:\n  1: x\n", 2, "a key must be text; put it in quotes"),
        ("a: 1\ntrue: x\n", 2, "a key must be text"),
        ("? [a, b]\n: x\n", 1, "a key must be text"),
        ("a: 1\n---\nb: 2\n", 2, "single document"),
        ("a: {b: 1\nc: 2\n", 2, "is not YAML as read here"),
        ("a: &x {b: 1}\nc:\n  <<: *x\n", 3, "merge keys (<<) are not read; write the keys out"),
        ("a: 1\nb: !!python/object:os.system x\n", 2, "does not fit here; remove it"),
        ("a: !!int x\n", 1, "does not fit here"),
        ("a: &x\n  b: *x\n", 2, "alias (*name) of something it is part of"),
        ("a: *nothing\n", 1, "undefined alias"),
        ("a: " + "[" * 50, 1, "nested deeper than 40 levels"),
        ("a: 1\nb: " + "9" * 70 + "\n", 2, "cannot be carried exactly"),
        ("a: 1\nb: 1e999\n", 2, "too long or too large"),
        ("a: 1\nb: 9007199254740992\n", 2, "cannot be carried exactly"),
        ('a: 1\nb: "\\ud800"\n', 2, "lone surrogate; remove it"),
        ('a: 1\nb: "\\0"\n', 2, "NUL"),
        ('a: 1\nb: "\\UFFFFFFFF"\n', 2, "escape"),
        ("a: 1\nb: \x07\n", 2, "control character"),
        ("a: 1\nb: \ud800\n", 2, "lone surrogate"),
        ("a: " + "x" * MAX_FILE_BYTES, None, "larger than 256 KiB; split or shorten it"),
    ],
)
def test_yaml_that_could_surprise_is_refused(catalog: Catalog, text: str, line: int | None, said: str) -> None:
    _refused(text, catalog, line, said)


def test_a_few_aliases_cannot_stand_for_millions_of_values(catalog: Catalog) -> None:
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]" for level in range(1, 9)]
    error = _refused("\n".join(rows), catalog, 1, "stands for more than 20000 values; use fewer or smaller aliases")
    assert len(str(error)) < 300


def test_a_refused_value_is_never_repeated(tmp_path: Path) -> None:
    text = CATALOG.replace('/v1"}', '/v1", api_key_env: sk-very-secret}')
    with pytest.raises(PolicyError, match="never write a key") as caught:
        _catalog(tmp_path, text)
    assert caught.value.line == 3
    assert "very-secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "start", "said"),
    [
        ("    price: {input: 5, output: 20}\n", "", "- name: strong",
         "models.1.price: a stage without a price cannot be budgeted; add price: {input: …, output: …} in USD "
         "per million tokens"),
        ("{input: 5, output: 20}", "{input: 5}", "price: {input: 5}", "models.1.price.output: is missing"),
        ("name: strong", "name: cheap", "- name: cheap", "two models are called 'cheap'; give each a name"),
        ("provider: local\n    id: strong", "provider: locl\n    id: strong", "provider: locl",
         "no provider is called 'locl'; did you mean 'local'?"),
        ("quality: 0.9", "qality: 0.9", "qality", "did you mean 'quality'?"),
        ("http://127.0.0.1:1/verify", "ftp://127.0.0.1", "citations", "must begin with http:// or https://"),
        ("output: 0.60", "output: 1e30", "price: {input: 0.15", "no more than"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_catalog_is_named(tmp_path: Path, old: str, new: str, start: str, said: str) -> None:
    assert old in CATALOG
    text = CATALOG.replace(old, new)
    lines = [number for number, line in enumerate(text.splitlines(), 1) if line.strip().startswith(start)]
    with pytest.raises(PolicyError) as caught:
        _catalog(tmp_path, text)
    assert said in str(caught.value)
    assert caught.value.file == str(tmp_path / "catalog.yaml")
    assert caught.value.line == lines[-1]


# Files and folders


def _folder(tmp_path: Path, **texts: str) -> Path:
    for name, text in texts.items():
        stem, _, ending = name.rpartition("_")
        (tmp_path / f"{stem}.{ending}").write_text(text, encoding="utf-8")
    return tmp_path


def test_a_folder_loads_every_policy_but_not_the_catalog(tmp_path: Path, catalog: Catalog) -> None:
    other = POLICY.replace("name: sample", "name: other")
    store = load_policies(
        _folder(tmp_path, sample_yaml=POLICY, other_yml=other, catalog_yaml="x", notes_txt="x"), catalog
    )
    assert store.names() == ("other", "sample")
    snapshot = store.snapshot("other")
    assert snapshot is not None
    assert snapshot.policy.name == "other"
    assert store.snapshot("none") is None


@pytest.mark.parametrize(
    ("texts", "file", "line", "said"),
    [
        ({"wrong_yaml": POLICY}, "wrong.yaml", 1, "is 'sample', but the file is called wrong.yaml"),
        ({"sample_yaml": POLICY, "sample_yml": POLICY}, "sample.yml", 1, "'sample' is in two files; remove or rename"),
        ({}, "", None, "holds no policy; add one as <name>.yaml"),
    ],
)
def test_policies_are_called_like_their_files(
    tmp_path: Path, catalog: Catalog, texts: dict[str, str], file: str, line: int | None, said: str
) -> None:
    with pytest.raises(PolicyError) as caught:
        load_policies(_folder(tmp_path, **texts), catalog)
    assert caught.value.file == str(tmp_path / file)
    assert caught.value.line == line
    assert said in caught.value.problem


def test_files_that_cannot_be_read_are_named(tmp_path: Path, catalog: Catalog) -> None:
    with pytest.raises(PolicyError, match=r"cannot be read \(No such file or directory\); check that the file exists"):
        load_catalog(tmp_path / "catalog.yaml")
    with pytest.raises(PolicyError, match="is no directory; name the folder"):
        load_policies(tmp_path / "none", catalog)
    (tmp_path / "a.yaml").write_bytes(b"name: a\nx: \xff\n")
    with pytest.raises(PolicyError, match=r"a\.yaml:2: is not UTF-8 text; save the file as UTF-8"):
        load_policies(tmp_path, catalog)
    (tmp_path / "a.yaml").write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    with pytest.raises(PolicyError, match="larger than 256 KiB"):
        load_policies(tmp_path, catalog)
