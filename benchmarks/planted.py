"""The control: a worker that does not announce transmissions, so that whatever it lost is sent again."""

from __future__ import annotations

from tidings import worker_process
from workers.recording import Held, Subject
from workers.worker import Worker


class CarelessWorker(Worker):
    """The same worker, but for its second intent."""

    async def transmit(self, subject: Subject) -> Held | None:
        return subject.held


def skip_the_second_intent() -> None:
    """From now on this process makes careless workers."""
    worker_process.Worker = CarelessWorker  # type: ignore[misc]  # that is the plant
