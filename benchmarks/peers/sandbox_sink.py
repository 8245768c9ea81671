"""The sandbox as a sink for mails, in a process of its own, until it is terminated."""

from __future__ import annotations

import sys
from pathlib import Path

from tidings.running import run_fast, stop_on_signals
from tidings.sandbox.server import sandbox


async def main(directory: Path, host: str, port: int) -> None:
    with stop_on_signals() as stop:
        async with sandbox(directory, host=host, smtp_port=port):
            await stop.wait()


if __name__ == "__main__":
    run_fast(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
