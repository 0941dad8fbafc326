"""Signatures over decisions and orders, and the files their keys lie in."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.decision_keys import DecisionKey, DecisionPublicKey, main
from adapters.secret_files import SecretFileError, read_or_create_secret
from domain.override import OverrideAction, OverrideEnvelope
from domain.review import DecisionEnvelope, ReviewVerdict, read_envelope


def envelope(**fields: Any) -> DecisionEnvelope:
    given_fields = {
        "decision_id": "d-1",
        "verdict": ReviewVerdict.EDIT,
        "reason": "wrong figure",
        "result_sha256": "a" * 64,
        "review_version": 2,
        "output": "ünïcode",
        "request_id": "req_1",
        "tenant": "acme",
        "reviewer": "ann",
        "decided_at": datetime(2026, 1, 2, 3, 4, 5, 600, tzinfo=UTC),
    }
    return DecisionEnvelope.model_validate(given_fields | fields)


def order() -> OverrideEnvelope:
    return OverrideEnvelope(
        decision_id="d-1",
        action=OverrideAction.FORCE_MODEL,
        stage="large",
        reason="the provider is down",
        request_id="req_1",
        tenant="acme",
        operator="olga",
        decided_at=datetime(2026, 1, 2, 3, 4, 5, 600, tzinfo=UTC),
    )


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> DecisionKey:
    return DecisionKey.load_or_create(tmp_path_factory.mktemp("keys") / "decision.key")


def test_what_it_signs_holds_and_survives_the_wire(key: DecisionKey) -> None:
    signed = key.sign(envelope())
    arrived = read_envelope(signed.model_dump(mode="json"))
    assert isinstance(arrived, DecisionEnvelope)
    assert key.problem(arrived) is None
    assert signed.signature.startswith(f"ed25519:{key.public.key_id}:")
    assert key.sign(signed) == signed


OTHER_DECISION: dict[str, Any] = {
    "decision_id": "d-2",
    "verdict": ReviewVerdict.REJECT,
    "reason": "wrong figures",
    "result_sha256": "b" * 64,
    "review_version": 3,
    "output": "unicode",
    "overrule": ("terms",),
    "queue": "board",
    "instruction": "shorter",
    "on_behalf_of": "bob",
    "request_id": "req_2",
    "tenant": "evil",
    "reviewer": "bob",
    "decided_at": datetime(2026, 1, 2, 3, 4, 6, tzinfo=UTC),
}
OTHER_ORDER: dict[str, Any] = {
    "decision_id": "d-2",
    "action": OverrideAction.FORCE_SAFE_OUTPUT,
    "stage": "small",
    "reason": "it is up again",
    "request_id": "req_2",
    "tenant": "evil",
    "operator": "bob",
    "decided_at": datetime(2026, 1, 2, 3, 4, 6, tzinfo=UTC),
}


@pytest.mark.parametrize("field", OTHER_DECISION)
def test_every_field_of_a_decision_is_covered(key: DecisionKey, field: str) -> None:
    changed = key.sign(envelope()).model_copy(update={field: OTHER_DECISION[field]})
    assert key.problem(changed) == "its signature does not fit its content"


@pytest.mark.parametrize("field", OTHER_ORDER)
def test_every_field_of_an_order_is_covered(key: DecisionKey, field: str) -> None:
    signed = key.sign(order())
    assert key.problem(signed) is None
    changed = signed.model_copy(update={field: OTHER_ORDER[field]})
    assert key.problem(changed) == "its signature does not fit its content"


def test_the_fields_above_are_all_there_are() -> None:
    assert set(DecisionEnvelope.model_fields) == {*OTHER_DECISION, "signature"}
    assert set(OverrideEnvelope.model_fields) == {*OTHER_ORDER, "signature"}


def test_a_decision_of_the_version_before_is_signed_as_it_was_then() -> None:
    """A Signal can wait in the outbox while API and workers are upgraded."""
    assert envelope().signed_bytes() == (
        b'{"decided_at": "2026-01-02T03:04:05.000600Z", "decision_id": "d-1", "output": "\\u00fcn\\u00efcode", '
        b'"reason": "wrong figure", "request_id": "req_1", "result_sha256": "' + b"a" * 64 + b'", '
        b'"review_version": 2, "reviewer": "ann", "tenant": "acme", "verdict": "edit"}'
    )


def test_a_signature_under_a_decision_is_none_under_an_order(key: DecisionKey) -> None:
    signed = key.sign(envelope(verdict=ReviewVerdict.APPROVE, output=None))
    assert key.problem(order().model_copy(update={"signature": signed.signature})) is not None


def test_another_key_is_told_from_a_wrong_signature(key: DecisionKey, tmp_path: Path) -> None:
    other = DecisionKey.load_or_create(tmp_path / "other.key")
    assert "another key" in (key.problem(other.sign(envelope())) or "")
    forged = other.sign(envelope()).signature.replace(other.public.key_id, key.public.key_id)
    assert key.problem(envelope(signature=forged)) == "its signature does not fit its content"


def test_no_signature_is_a_problem(key: DecisionKey) -> None:
    assert key.problem(envelope()) == "it carries no signature"


@settings(deadline=None)
@given(signature=st.text() | st.from_regex(r"ed25519:[0-9a-f]{16}:[A-Za-z0-9_=-]{80,90}", fullmatch=True))
def test_no_other_text_is_a_signature(key: DecisionKey, signature: str) -> None:
    assert key.problem(envelope().model_copy(update={"signature": signature})) is not None


def test_a_signature_is_written_in_one_way_only(key: DecisionKey) -> None:
    signature = key.sign(envelope()).signature
    last = signature[-1]
    for other in ("=", "==", "\n", "A"):
        assert key.problem(envelope(signature=signature + other)) is not None
    for replaced in set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") - {last}:
        assert key.problem(envelope(signature=signature[:-1] + replaced)) is not None


def test_the_public_part_alone_is_enough(key: DecisionKey, tmp_path: Path) -> None:
    key.publish(tmp_path / "public" / "decision.pub")
    public = DecisionPublicKey.load(tmp_path / "public" / "decision.pub")
    assert public.key_id == key.public.key_id
    assert public.problem(key.sign(envelope())) is None
    assert (tmp_path / "public" / "decision.pub").stat().st_mode & 0o777 == 0o644
    assert b"PRIVATE" not in (tmp_path / "public" / "decision.pub").read_bytes()


def test_the_file_is_private_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "new" / "decision.key"
    first = DecisionKey.load_or_create(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert DecisionKey.load_or_create(path).public.key_id == first.public.key_id
    assert [entry.name for entry in path.parent.iterdir()] == ["decision.key"]


def test_threads_that_come_together_agree(tmp_path: Path) -> None:
    path = tmp_path / "decision.key"
    with ThreadPoolExecutor(16) as pool:
        keys = list(pool.map(lambda _: DecisionKey.load_or_create(path).public.key_id, range(64)))
    assert len(set(keys)) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["decision.key"]


def test_processes_that_come_together_agree(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "adapters.decision_keys", str(tmp_path / "key"), str(tmp_path / "pub")]
    root = Path(__file__).parents[2]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) for _ in range(3)]
    said = {process.communicate(timeout=60)[0] for process in running}
    assert [process.returncode for process in running] == [0, 0, 0]
    assert len(said) == 1
    assert DecisionPublicKey.load(tmp_path / "pub").key_id in said.pop()


def test_the_program_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    (tmp_path / "key").write_text("no key")
    assert main([str(tmp_path / "key"), str(tmp_path / "pub")]) == 1
    assert str(tmp_path / "key") in capsys.readouterr().err
    assert not (tmp_path / "pub").exists()


def test_a_file_without_an_ed25519_key_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "wrong"
    curve = generate_private_key(SECP256R1())
    for content in (
        b"",
        b"secret nonsense",
        curve.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        curve.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    ):
        path.write_bytes(content)
        for load in (DecisionKey.load_or_create, DecisionPublicKey.load):
            with pytest.raises(SecretFileError, match="wrong: is ") as caught:
                load(path)
            assert "nonsense" not in str(caught.value)
    with pytest.raises(SecretFileError, match="absent"):
        DecisionPublicKey.load(tmp_path / "absent")


def test_a_pepper_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "pepper"
    first = read_or_create_secret(path)
    assert len(first) == 64
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_or_create_secret(path) == first


def test_a_pepper_that_is_short_or_open_to_all_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pepper"
    path.write_text("short\n")
    with pytest.raises(SecretFileError, match="fewer than 32"):
        read_or_create_secret(path)
    path.write_text("x" * 64)
    path.chmod(0o666)
    with pytest.raises(SecretFileError, match="everybody may change it"):
        read_or_create_secret(path)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SecretFileError, match="pepper"):
        read_or_create_secret(tmp_path / "file" / "pepper")
