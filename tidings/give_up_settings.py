"""Whom to tell of give-ups, and how the call is signed."""

from __future__ import annotations

import base64
import binascii
from datetime import timedelta
from typing import Annotated, Self

from pydantic import Field, SecretStr, model_validator

from tidings.durations import Duration
from tidings.provider_settings import Network, ReadableFile, SettingsGroup, Url, secret_text

KEY_PREFIX = "whsec_"
KEY_BYTES = range(24, 65)


class GiveUpSettings(SettingsGroup):
    """The operator's receiver. While ``url`` is unset nobody is told."""

    url: Url | None = Field(
        default=None, description="Address that every give-up is reported to, by a signed POST; unset: none."
    )
    signing_key: SecretStr | None = Field(
        default=None,
        description="Base64 of 24 to 64 bytes, with or without whsec_; several with spaces between, the "
        "newest first, sign side by side.",
    )
    signing_key_file: ReadableFile | None = Field(
        default=None, description="File that holds the signing key."
    )
    timeout: Annotated[Duration, Field(gt=timedelta(), le=timedelta(minutes=1))] = Field(
        default=timedelta(seconds=15), description="Limit for one call, from connecting to its answer."
    )
    own_networks: tuple[Network, ...] = Field(
        default=(),
        description="Networks that the receiver may be in beside the public ones; then plain http will do.",
    )

    @model_validator(mode="after")
    def the_receiver_is_whole(self) -> Self:
        if self.signing_key is not None and self.signing_key_file is not None:
            raise ValueError("signing_key and signing_key_file are both set; keep one of them")
        keyed = self.signing_key is not None or self.signing_key_file is not None
        if keyed != (self.url is not None):
            raise ValueError("url and signing_key (or signing_key_file) belong together; one is missing")
        if self.url and self.url.startswith("http:") and not self.own_networks:
            raise ValueError("url must be https, unless own_networks names the network it is in")
        if keyed and not self.signing_keys():
            raise ValueError("signing_key is empty")
        return self

    def signing_keys(self) -> tuple[bytes, ...]:
        """The newest first. Raises ValueError for what is no key, without quoting it."""
        return tuple(_key(word) for word in secret_text(self.signing_key, self.signing_key_file).split())


def _key(word: str) -> bytes:
    try:
        key = base64.b64decode(word.removeprefix(KEY_PREFIX), validate=True)
    except binascii.Error:
        key = b""
    if len(key) not in KEY_BYTES:
        raise ValueError("signing_key must be Base64 of 24 to 64 bytes; `openssl rand -base64 32` makes one")
    return key
