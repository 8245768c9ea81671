"""Who is asking: bearer keys, each bound to one instance and to scopes."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable

from starlette.requests import Request

from api.problems import MISSING_SCOPE, UNAUTHENTICATED, Refused
from event_log.api_keys import ApiKey

_BEARER = re.compile(r"bearer +([A-Za-z0-9_.~+/=-]{1,500})", re.IGNORECASE)
_MOST_CACHED = 1_000
_REALM = 'Bearer realm="tidings"'


class Authentication:
    """Finds the key of a request. A key that was found is believed for ``cache_seconds``."""

    def __init__(self, verify: Callable[[str], ApiKey | None], cache_seconds: float) -> None:
        self._verify = verify
        self._cache_seconds = cache_seconds
        self._found: dict[bytes, tuple[ApiKey, float]] = {}

    async def key(self, request: Request, scope: str) -> ApiKey:
        """Raises Refused with 401 or 403."""
        key = await self._key(_presented(request))
        if not key.allows(scope):
            raise Refused(
                MISSING_SCOPE,
                f"The key lacks the scope {scope}.",
                members={"scope": scope},
                headers={"WWW-Authenticate": f'{_REALM}, error="insufficient_scope", scope="{scope}"'},
            )
        return key

    async def _key(self, presented: str) -> ApiKey:
        digest = hashlib.sha256(presented.encode()).digest()
        now = asyncio.get_running_loop().time()
        found = self._found.get(digest)
        if found is not None and found[1] > now:
            return found[0]
        key = await asyncio.to_thread(self._verify, presented)
        if key is None:
            self._found.pop(digest, None)
            raise _unauthenticated("The API key is unknown or revoked.", f'{_REALM}, error="invalid_token"')
        self._remember(digest, key, now + self._cache_seconds)
        return key

    def _remember(self, digest: bytes, key: ApiKey, until: float) -> None:
        if len(self._found) >= _MOST_CACHED:
            self._found.clear()
        self._found[digest] = (key, until)


def _presented(request: Request) -> str:
    given = request.headers.getlist("authorization")
    if not given:
        raise _unauthenticated("The Authorization header is missing.", _REALM)
    matched = _BEARER.fullmatch(given[0].strip()) if len(given) == 1 else None
    if matched is None:
        raise _unauthenticated("The Authorization header must be: Bearer KEY.", _REALM)
    return matched[1]


def _unauthenticated(detail: str, challenge: str) -> Refused:
    return Refused(UNAUTHENTICATED, detail, headers={"WWW-Authenticate": challenge})
