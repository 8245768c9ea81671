"""The deployment's key, from which every other key is derived or by which it is wrapped."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 32
NONCE_BYTES = 12


class DeploymentKey:
    """32 secret bytes; ``derive`` gives independent keys by purpose (HKDF-SHA256, RFC 5869)."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"the deployment's key must be {KEY_BYTES} bytes, not {len(key)}")
        self._key = key

    def __repr__(self) -> str:
        return "DeploymentKey(…)"

    @classmethod
    def from_text(cls, text: str) -> DeploymentKey:
        """From 64 hexadecimal digits or URL-safe base64; raises ValueError with a sentence."""
        text = text.strip()
        try:
            if len(text) == 2 * KEY_BYTES:
                return cls(bytes.fromhex(text))
            return cls(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        except (ValueError, binascii.Error):
            raise ValueError("the secret key must be 32 bytes as URL-safe base64 or hexadecimal") from None

    def derive(self, purpose: str) -> bytes:
        return HKDF(SHA256(), KEY_BYTES, salt=None, info=purpose.encode()).derive(self._key)


class Seal:
    """AES-256-GCM (NIST SP 800-38D) under one key; a sealed value is nonce, ciphertext and tag."""

    def __init__(self, key: bytes, chance: Callable[[int], bytes]) -> None:
        self._cipher = AESGCM(key)
        self._chance = chance

    def seal(self, plain: bytes, associated: bytes) -> bytes:
        nonce = self._chance(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, plain, associated)

    def open(self, sealed: bytes, associated: bytes) -> bytes:
        """Raises cryptography's InvalidTag when a byte of the value or of ``associated`` differs."""
        try:
            return self._cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], associated)
        except ValueError:  # too short to be anything that was sealed
            raise InvalidTag from None
