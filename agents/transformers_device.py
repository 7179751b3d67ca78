"""A device's thread: it does the turns of all engines that share the device, one after the other.

Nothing else computes there. The event loop hands in actions, which run between two turns, and is
told of results through :class:`agents.transformers_jobs.Mail`. Loads copy weights on a stream of
their own, in threads of their own, meanwhile.

On cards of the newest kinds torch prefers cuDNN's attention, which plans anew, for tens of
milliseconds, wherever the numbers of rows and columns are new to it. Here they are new in nearly
every step, so it is switched off for the process; the other kernels take any shape.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import nullcontext
from typing import Any

import torch

from agents.transformers_batch import Batch

Action = Callable[[], None]


class DeviceThread:
    """Runs batches on one device. It lives while there is a batch or an action."""

    def __init__(self, device: Any) -> None:
        self.device = device
        on_card = device.type == "cuda"
        self.copies = torch.cuda.Stream(device) if on_card else None
        """The stream on which weights come."""
        if on_card:
            torch.backends.cuda.enable_cudnn_sdp(False)
        self._batches: list[Batch] = []
        self._actions: list[Action] = []
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def post(self, action: Action) -> None:
        """Let an action run between two turns. Where it raises, all that runs here fails."""
        with self._changed:
            self._actions.append(action)
            if self._thread is None:
                name = f"moot {self.device}"
                self._thread = threading.Thread(target=self._run, name=name, daemon=True)
                self._thread.start()
            self._changed.notify()

    def join(self, batch: Batch) -> None:
        """Take in a batch."""
        self.post(lambda: self._batches.append(batch))

    def leave(self, batch: Batch, message: str, free: Action) -> Future[None]:
        """End a batch: its jobs fail with `message`; then `free` runs, while nothing else does.

        The result comes when the memory is free.
        """
        left: Future[None] = Future()
        left.set_running_or_notify_cancel()  # from now on nobody can cancel it

        def end() -> None:
            if batch in self._batches:
                self._batches.remove(batch)
            try:
                batch.close(message)
                free()
            except Exception as error:  # noqa: BLE001 - it is raised where the result is awaited
                left.set_exception(error)
            else:
                left.set_result(None)

        self.post(end)
        return left

    def _run(self) -> None:
        on_card = self.device.type == "cuda"
        with torch.cuda.device(self.device) if on_card else nullcontext(), torch.inference_mode():
            while self._wait():
                try:
                    self._act()
                except Exception as error:  # noqa: BLE001 - or whoever waits would wait for ever
                    message = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
                    for batch in self._batches:
                        batch.fail(message)

    def _wait(self) -> bool:
        """Wait until there is something to do; return False where there is nobody any more."""
        with self._changed:
            while not self._actions and not any(batch.busy for batch in self._batches):
                if not self._batches:
                    self._thread = None
                    return False
                self._changed.wait()
        return True

    def _act(self) -> None:
        """Run the actions that came, then give each batch a turn."""
        while True:
            with self._changed:
                if not self._actions:
                    break
                action = self._actions.pop(0)
            action()
        for batch in tuple(self._batches):
            if batch.busy:
                batch.turn()
