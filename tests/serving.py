"""The API on a real socket, in a thread of its own."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp


@contextmanager
def serving(build: Callable[[str], ASGIApp]) -> Iterator[str]:
    """Its address, which ``build`` is told first."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        door.listen()
        url = f"http://127.0.0.1:{door.getsockname()[1]}"
        server = uvicorn.Server(
            uvicorn.Config(build(url), lifespan="off", log_config=None, access_log=False, ws="none")
        )
        thread = threading.Thread(target=server.run, args=([door],))
        thread.start()
        try:
            yield url
        finally:
            server.should_exit = True
            thread.join()
