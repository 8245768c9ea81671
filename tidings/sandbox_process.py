"""The sandbox as a process of its own."""

from __future__ import annotations

from collections.abc import Callable

from tidings.errors import TidingsError
from tidings.running import stop_on_signals
from tidings.sandbox.server import SandboxAddress, run_sandbox
from tidings.settings import Settings
from tidings.supervised import say_ready


async def run_sandbox_process(settings: Settings, announce: Callable[[str, int], None]) -> None:
    """Until a signal; ``announce`` gets the pages' address and the SMTP port."""

    def started(address: SandboxAddress) -> None:
        announce(address.base_url, address.smtp_port)
        say_ready()

    with stop_on_signals() as stop:
        try:
            await run_sandbox(
                settings.data_dir / "sandbox",
                host=settings.host,
                smtp_port=settings.sandbox.smtp_port or 0,
                http_port=settings.sandbox.http_port or 0,
                started=started,
                stop=stop,
            )
        except OSError as error:
            raise TidingsError(f"the sandbox cannot listen: {error.strerror or error}") from None
