"""What the tests of the SMTP channel share: a mail, a point of no return, a cell of the outcome table."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from notification_domain.outcomes import Delivered, Outcome
from tests.workers.misbehaving_smtp import Act, MisbehavingSmtp
from workers.channels.port import Mail
from workers.channels.smtp import SmtpChannel
from workers.channels.smtp_settings import SmtpSettings

MAIL = Mail("no-reply@tidings.test", "ada@example.org", b"Subject: hi\r\n\r\nYour code is 7.\r\n")
PIPELINED = ("PIPELINING", "SIZE 10000000", "AUTH PLAIN LOGIN")
STEPWISE = ("AUTH PLAIN LOGIN",)
GARBAGE = b"\x00\xff what is this\r\n"
ENDLESS = b"250-a\r\n" * 6000
"""A reply that never comes to its end."""


class Probe:
    """A point of no return that counts."""

    def __init__(self) -> None:
        self.asked = 0

    async def __call__(self) -> bool:
        await asyncio.sleep(0)
        self.asked += 1
        return True


class Cell(msgspec.Struct, frozen=True):
    stage: str
    """Where the server misbehaves."""
    acts: Sequence[Act]
    outcome: type[Outcome]
    at: str = ""
    """The stage that the outcome names, when it is not the same."""
    fault: bool = False
    suppress: bool = False

    def __str__(self) -> str:
        acts = "+".join(act if isinstance(act, str) else act[:14].decode("latin-1") for act in self.acts)
        return f"{self.stage} {acts.strip()} is {self.outcome.__name__}".encode("unicode_escape").decode()


def settings(server: MisbehavingSmtp, acts: Sequence[Act] = (), **changes: object) -> SmtpSettings:
    """Patient, unless the server will hang anyhow."""
    patience = 0.4 if "hang" in acts else 8.0
    account = SmtpSettings(
        "127.0.0.1", server.port, tls="none", command_timeout=patience, data_timeout=patience
    )
    return msgspec.structs.replace(account, **changes)


def assert_cell(outcome: Outcome | None, cell: Cell) -> None:
    assert isinstance(outcome, cell.outcome), outcome
    if not isinstance(outcome, Delivered):
        assert outcome.stage == (cell.at or cell.stage)
        assert outcome.error
        assert getattr(outcome, "account_fault", False) == cell.fault
        assert getattr(outcome, "suppress", False) == cell.suppress


async def deliver_all(account: SmtpSettings, mails: Sequence[Mail]) -> None:
    channel = SmtpChannel(account, provider="p")
    outcomes = await asyncio.gather(*(channel.deliver(mail, Probe()) for mail in mails))
    assert all(isinstance(outcome, Delivered) for outcome in outcomes), outcomes
    await channel.close()
