"""An event loop on virtual time: seeded choice among the processes that can go on, no threads, no waiting.

Each callback belongs to the process in whose context it was scheduled. Within a process callbacks run in
order, as asyncio promises; between processes chance decides. When nobody can go on, time jumps.
"""

from __future__ import annotations

import asyncio
import heapq
from asyncio import tasks
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import Context, ContextVar, copy_context
from random import Random
from typing import Any

CURRENT: ContextVar[Process] = ContextVar("process")


class Killed(BaseException):
    """Unwinds what a killed process had on the stack; nothing of it may run on."""


class StepLimitReached(BaseException):
    """The schedule does not come to an end."""


class Process:
    """What is killed, frozen and started anew as one."""

    def __init__(self, loop: VirtualLoop, name: str) -> None:
        self.loop = loop
        self.name = name
        self.alive = True
        self.busy = 0
        """How often it stands on the stack, waiting for others in the middle of a step."""
        self.frozen = False
        self.ready: deque[Step] = deque()
        self.tasks: list[SimulatedTask] = []
        self.context = Context()
        self.context.run(CURRENT.set, self)

    def enqueue(self, step: Step) -> None:
        if self.alive:
            if not self.ready:
                self.loop.runnable.append(self)
            self.ready.append(step)

    def spawn(self, work: Coroutine[Any, Any, Any]) -> SimulatedTask:  # any coroutine
        return self.context.copy().run(self.loop.create_task, work)

    def after(self, seconds: float, callback: Callable[..., Any], *args: object) -> Step:
        """Run a callback in this process later."""
        return self.loop.call_at(self.loop.now + seconds, callback, *args, context=self.context)

    def kill(self) -> None:
        """As SIGKILL does: nothing of it runs any more, not even what stands in ``finally``."""
        self.alive = False
        self.loop.forget(self)
        for task in self.tasks:
            if not task.done():
                task.abandon()
        self.tasks.clear()


class Step:
    """A callback on its way; what asyncio calls a handle."""

    __slots__ = ("args", "callback", "context", "process", "when")

    def __init__(
        self,
        process: Process,
        callback: Callable[..., Any] | None,
        args: tuple[object, ...],
        context: Context,
    ) -> None:
        self.process = process
        self.callback = callback
        self.args = args
        self.context = context
        self.when = 0.0

    def cancel(self) -> None:
        self.callback = None
        self.args = ()

    def cancelled(self) -> bool:
        return self.callback is None


class SimulatedTask(asyncio.Task[Any]):
    """A task whose place in a set depends on nothing but the schedule."""

    def __init__(self, work: Any, loop: VirtualLoop, number: int) -> None:  # noqa: ANN401  # any coroutine
        self._number = number
        super().__init__(work, loop=loop, name="simulated")

    def __hash__(self) -> int:
        return self._number

    def __eq__(self, other: object) -> bool:
        return self is other

    def abandon(self) -> None:
        self._log_destroy_pending = False
        # It may try to go on while it is closed, or be what runs just now.
        with suppress(Killed, RuntimeError, ValueError):
            self.get_coro().close()


class VirtualLoop(asyncio.AbstractEventLoop):
    def __init__(self, random: Random, step_limit: int) -> None:
        self.random = random
        self.now = 0.0
        self.steps = 0
        self.step_limit = step_limit
        self.runnable: list[Process] = []
        self.trace: list[Any] = []
        self.before_step: Callable[[Process], bool] = lambda _: True
        """May kill or freeze the process; whether it may still take its step."""
        self.dawdle: Callable[[], float] = lambda: 0.0
        """Seconds that a commit waits in its lane, beyond what any crossing takes."""
        self.linger: Callable[[Any], None] = lambda _: None
        """Called while a message is prepared, with what is held of it."""
        self.complaints: list[str] = []
        self._timers: list[tuple[float, int, Step]] = []
        self._numbers = 0
        self.world = Process(self, "world")

    # --- what asyncio asks of a loop --------------------------------------------------------------

    def time(self) -> float:
        return self.now

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def call_soon(self, callback: Any, *args: Any, context: Context | None = None) -> Step:  # type: ignore[override]  # noqa: ANN401
        context = copy_context() if context is None else context
        step = Step(context.get(CURRENT, self.world), callback, args, context)
        step.process.enqueue(step)
        return step

    call_soon_threadsafe = call_soon  # type: ignore[assignment]  # there are no threads

    def call_later(self, delay: float, callback: Any, *args: Any, context: Context | None = None) -> Step:  # type: ignore[override]  # noqa: ANN401
        return self.call_at(self.now + delay, callback, *args, context=context)

    def call_at(self, when: float, callback: Any, *args: Any, context: Context | None = None) -> Step:  # type: ignore[override]  # noqa: ANN401
        context = copy_context() if context is None else context
        step = Step(context.get(CURRENT, self.world), callback, args, context)
        step.when = when
        self._numbers += 1
        heapq.heappush(self._timers, (when, self._numbers, step))
        return step

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, work: Any, **_: Any) -> SimulatedTask:  # type: ignore[override]  # noqa: ANN401
        process = CURRENT.get(self.world)
        if not process.alive:
            work.close()
            raise Killed
        self._numbers += 1
        task = SimulatedTask(work, self, self._numbers)
        process.tasks.append(task)
        return task

    def run_in_executor(self, _: Any, function: Any, *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]  # noqa: ANN401
        """What real code does in a thread is one step here, after a while."""
        if not CURRENT.get(self.world).alive:
            raise Killed
        future = self.create_future()
        self.call_later(self.latency(), _carry_out, future, function, args)
        return future

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """What was left behind by the dead is nobody's fault."""
        error, where = context.get("exception"), context.get("task")
        if error is not None and where is not None and not isinstance(error, Killed):
            self.complaints.append(f"{context.get('message')}: {error!r}")

    # --- the schedule -----------------------------------------------------------------------------

    def latency(self) -> float:
        """How long a crossing into a thread takes: multiples of 1/64 s, so that moments coincide."""
        draw = self.random.random()
        return 0.0 if draw < 0.6 else int(draw * 16) / 64 if draw < 0.98 else int(draw * 1000) % 7 + 1.0

    def forget(self, process: Process) -> None:
        process.ready.clear()
        if process in self.runnable:
            self.runnable.remove(process)

    def run_until(self, done: Callable[[], bool], deadline: float = float("inf")) -> None:
        """Until ``done``, or the virtual deadline has come."""
        while not done():
            if not self.advance(deadline):
                return

    def advance(self, deadline: float) -> bool:
        """Take one step of somebody, or let time go on; False when nothing happens before the deadline."""
        process = self._choose()
        if process is None:
            return self._let_time_pass(deadline)
        if self.before_step(process) and process.ready:
            self._take(process)
        return True

    def _choose(self) -> Process | None:
        able = self.runnable
        if not able:
            return None
        process = able[int(self.random.random() * len(able))] if len(able) > 1 else able[0]
        if process.busy or process.frozen:
            free = [one for one in able if not (one.busy or one.frozen)]
            return free[int(self.random.random() * len(free))] if free else None
        return process

    def _take(self, process: Process) -> None:
        step = process.ready.popleft()
        if not process.ready:
            self.runnable.remove(process)
        callback = step.callback
        if callback is None:
            return
        self.steps += 1
        if self.steps > self.step_limit:
            raise StepLimitReached
        self.trace.append((self.now, process.name))
        process.busy += 1
        try:
            step.context.run(callback, *step.args)
        except Killed:
            pass
        finally:
            process.busy -= 1

    def _let_time_pass(self, deadline: float) -> bool:
        timers = self._timers
        while timers:
            when, _, step = timers[0]
            if when > deadline:
                # Others may have gone on for longer than whoever waits for them.
                self.now = max(self.now, deadline)
                return False
            heapq.heappop(timers)
            if step.callback is not None and step.process.alive:
                self.now = max(self.now, when)
                step.process.enqueue(step)
                while timers and timers[0][0] <= self.now:
                    _, _, also = heapq.heappop(timers)
                    if also.callback is not None:
                        also.process.enqueue(also)
                return True
        if deadline != float("inf"):
            self.now = max(self.now, deadline)
        return False

    def meanwhile(self, deadline: float, steps: int) -> None:
        """Let others go on while the current process stands still in the middle of a step."""
        task = tasks.current_task(self)
        if task is not None:
            tasks._leave_task(self, task)  # noqa: SLF001  # as nested loops must
        try:
            while steps > 0 and self.advance(deadline):
                steps -= 1
        finally:
            if task is not None:
                tasks._enter_task(self, task)  # noqa: SLF001


def _carry_out(future: asyncio.Future[Any], function: Callable[..., Any], args: Any) -> None:  # noqa: ANN401
    if future.cancelled():
        return
    try:
        result = function(*args)
    except Exception as error:  # noqa: BLE001  # handed to whoever waits
        if not future.cancelled():
            future.set_exception(error)
    else:
        if not future.cancelled():
            future.set_result(result)
