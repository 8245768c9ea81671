"""How an SMTP connection misbehaves when it was asked to."""

from __future__ import annotations

import asyncio
from typing import assert_never

from tidings.sandbox.faults import Fault
from tidings.sandbox.smtp_wire import ConnectionEnded, SmtpWire


async def suffer(fault: Fault, wire: SmtpWire, *, closes: bool = False) -> bool:
    """True when the fault was the answer; raises ConnectionEnded when there will be none.

    ``closes``: after a refusal there is no way on.
    """
    match fault.action:
        case "delay":
            await wire.flush()
            await asyncio.sleep(fault.seconds or 0)
            return False
        case "hang":
            await wire.outwait(fault.seconds)
            raise ConnectionEnded
        case "disconnect":
            await wire.flush()
            raise ConnectionEnded
        case "refuse":
            wire.reply(f"{fault.code} {fault.code // 100}.0.0 Refused at {fault.stage}, as asked")
        case "garbage":
            wire.say_nonsense()
        case other:
            assert_never(other)
    if closes:
        await wire.part()
        raise ConnectionEnded
    return True
