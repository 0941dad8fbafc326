"""Signatures of the API over what people decide and order: Ed25519 (RFC 8032).

The API holds the private key and signs what it has authenticated; a worker needs the public part only. Run as a
program, ``python -m adapters.decision_keys PRIVATE PUBLIC`` makes a key and writes its public part for the workers.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import sys
from pathlib import Path
from typing import TypeVar

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from adapters.secret_files import SecretFileError, read, read_or_create, write_public
from domain.envelope import SignedEnvelope

_ALGORITHM = "ed25519"

EnvelopeT = TypeVar("EnvelopeT", bound=SignedEnvelope)


class DecisionPublicKey:
    """The public part: says whether an order was signed by its owner and not changed since."""

    def __init__(self, key: Ed25519PublicKey) -> None:
        self._key = key
        raw = key.public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.key_id = hashlib.sha256(raw).hexdigest()[:16]
        """First 16 hexadecimal digits of SHA-256 over the 32 bytes of the public key."""

    @classmethod
    def load(cls, path: Path) -> DecisionPublicKey:
        """The key in a PEM file (SubjectPublicKeyInfo). Raises ``SecretFileError``."""
        try:
            key = load_pem_public_key(read(path))
        except OSError as error:
            raise SecretFileError(f"{path}: {error.strerror}; copy the API's public key there") from None
        except (ValueError, UnsupportedAlgorithm):
            key = None
        if not isinstance(key, Ed25519PublicKey):
            raise SecretFileError(f"{path}: is no Ed25519 public key in PEM; copy the API's public key there")
        return cls(key)

    def pem(self) -> bytes:
        """The key as PEM (SubjectPublicKeyInfo)."""
        return self._key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def problem(self, envelope: SignedEnvelope) -> str | None:
        """Why the signature does not hold, or None if it does. Never raises on anything a Signal can carry."""
        if not envelope.signature:
            return "it carries no signature"
        algorithm, _, rest = envelope.signature.partition(":")
        key_id, _, encoded = rest.partition(":")
        signature = _decoded(encoded)
        if algorithm != _ALGORITHM or signature is None:
            return "its signature is not of the form ed25519:<key id>:<signature>"
        if key_id != self.key_id:
            return f"its signature was made with another key than {self.key_id}"
        try:
            self._key.verify(signature, envelope.signed_bytes())
        except InvalidSignature:
            return "its signature does not fit its content"
        return None


class DecisionKey:
    """The API's private key."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = DecisionPublicKey(key.public_key())

    @classmethod
    def load_or_create(cls, path: Path) -> DecisionKey:
        """The key in a PEM file (PKCS 8), made with mode 0600 where there is none. Raises ``SecretFileError``."""
        return cls.from_pem(read_or_create(path, _fresh_pem), str(path))

    @classmethod
    def from_pem(cls, pem: bytes, origin: str) -> DecisionKey:
        """The key in ``pem``, unencrypted PKCS 8. ``origin`` names where it came from in ``SecretFileError``."""
        try:
            key = load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise SecretFileError(f"{origin}: is no unencrypted private key in PEM; put an Ed25519 key there") from None
        if not isinstance(key, Ed25519PrivateKey):
            raise SecretFileError(f"{origin}: is a private key, but not an Ed25519 one; put an Ed25519 key there")
        return cls(key)

    def publish(self, path: Path) -> None:
        """Write the public part to ``path`` as PEM, for workers."""
        write_public(path, self.public.pem())

    def sign(self, envelope: EnvelopeT) -> EnvelopeT:
        """``envelope`` with the signature over all its other fields; the same one every time."""
        encoded = base64.urlsafe_b64encode(self._key.sign(envelope.signed_bytes())).decode("ascii").rstrip("=")
        return envelope.model_copy(update={"signature": f"{_ALGORITHM}:{self.public.key_id}:{encoded}"})

    def problem(self, envelope: SignedEnvelope) -> str | None:
        """Why the signature does not hold, or None if it does."""
        return self.public.problem(envelope)


def _fresh_pem() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _decoded(encoded: str) -> bytes | None:
    """The 64 bytes of a signature; None unless written in exactly the one way that ``sign`` writes it."""
    try:
        signature = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    canonical = base64.urlsafe_b64encode(signature).decode("ascii").rstrip("=")
    return signature if canonical == encoded and len(signature) == 64 else None


def main(arguments: list[str]) -> int:
    """Make the private key if there is none and write its public part; the exit code."""
    if len(arguments) != 2:
        print("usage: python -m adapters.decision_keys PRIVATE PUBLIC", file=sys.stderr)
        return 2
    try:
        key = DecisionKey.load_or_create(Path(arguments[0]))
        key.publish(Path(arguments[1]))
    except (SecretFileError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"decision key {key.public.key_id}: public part in {arguments[1]}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
