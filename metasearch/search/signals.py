"""Ctrl-C, SIGTERM and a closed terminal: the first asks to end, the second ends at once."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType, TracebackType

GRACE_S = 8.0  # in which running trials may still report, after SIGTERM
_HEARD = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Halted(BaseException):
    """The second signal came: leave at once. No error, so only the `with Signals()` catches it."""


class Signals:
    """Listens from `with` to its end, where it catches `Halted`.

    Deaf outside the main thread, and to a signal that was ignored before: `nohup` means it. After
    SIGTERM the second comes by itself in `GRACE_S`: whoever sent it will kill before long.
    """

    def __init__(self) -> None:
        """Hear nothing yet."""
        self.first: int | None = None
        self.raises = False  # whether the second is raised where it hits; else `check` raises it
        self._count = 0
        self._before: dict[int, signal._HANDLER] = {}
        self._patience: threading.Timer | None = None

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            for number in _HEARD:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._hear)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        if self._patience is not None:
            self._patience.cancel()
        for number, handler in self._before.items():
            signal.signal(number, handler)
        return kind is Halted

    def rearm(self) -> None:
        """Listen again after something else took the signals, as Ray does when it starts."""
        for number in self._before:
            signal.signal(number, self._hear)

    def check(self) -> None:
        """Raise `Halted` if it is time."""
        if self._count > 1:
            raise Halted

    @property
    def exit_code(self) -> int:
        """What a shell expects of a process that ended by the first signal; 0 without one."""
        return 128 + self.first if self.first else 0

    def _hear(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self._count += 1
        if number == signal.SIGHUP:
            _leave_dead_terminal()
        self.first = self.first or number
        if self._count == 1 and number == signal.SIGTERM:
            self._patience = threading.Timer(GRACE_S, os.kill, (os.getpid(), number))
            self._patience.daemon = True
            self._patience.start()
        if self._count == 2 and self.raises:
            raise Halted
        if self._count > 2:  # even leaving takes too long for somebody
            os._exit(128 + self.first)


def _leave_dead_terminal() -> None:
    """Write to nowhere what would go to a terminal that was closed, for there it is an error."""
    for handle in (1, 2):
        try:
            os.write(handle, b"")
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, handle)
            os.close(nowhere)
