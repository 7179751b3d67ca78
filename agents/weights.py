"""Weights of models: read from disk, kept in host memory, copied to a device and freed again.

Theory. Many experts share few cards, so the way of a model's weights onto the card is walked again
and again. It has two parts. *Reading* (seconds, once): the checkpoint's safetensors files are read
by `transformers`, which knows how each architecture's tensors are named, merged, tied and cast,
and how buffers that no file holds are computed. What comes of it, every parameter and buffer, is
laid into one block of host memory; page-locked ("pinned") where there is CUDA, so that a card can
fetch it by itself at the full speed of its link. *Placing* (tenths of a second, often): one block
on the device, filled in chunks on a stream of its own, and a copy of the module around it. Chunks,
because a card's copies queue: what a running model needs slips in between two of them.

A cache keeps blocks within a budget. Experts are visited in cycles, and there the least recently
used block is the one that is needed next; so a block is only given up for a model that was asked
for more often lately.

While a model is built `transformers` sets torch's default dtype for the whole process, for some
tenths of a second: whoever computes meanwhile names the dtypes of the tensors that he makes.
"""

from __future__ import annotations

import copy
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from agents import machine
from agents.weights_disk import Checkpoint, examine, find_model, from_disk
from protocols.errors import Mistake

__all__ = [
    "Checkpoint",
    "HostWeights",
    "Placed",
    "Timing",
    "WeightCache",
    "check_fits",
    "examine",
    "find_model",
    "free",
    "memory_of",
    "place",
]

ALIGNMENT = 256
"""Bytes: where tensors start in a block, as a card's own allocations do."""
CHUNK = 32 * 2**20
"""Bytes that are copied at once; about a millisecond of a card's link."""
_AGE = 64
"""After so many reads what was asked before counts half."""
_REMEMBERED = 1_000
_PORTABLE = 1
"""For cudaHostRegister: memory is page-locked for every card, whichever is this thread's."""
_READING = threading.Lock()
"""`transformers` changes process-wide settings while it builds a model: one at a time."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How long one load took."""

    model: str
    bytes: int
    read_s: float
    """Seconds from disk to host memory; 0 where it was in host memory."""
    copy_s: float
    """Seconds from host memory to the device."""
    pinned: bool


@dataclass(slots=True, eq=False)
class HostWeights:
    """A model in host memory."""

    name: str
    module: Any
    """The model; its parameters and buffers are views of `block`. Never run."""
    block: torch.Tensor
    views: dict[int, tuple[torch.Tensor, int]]
    """Every tensor of the module, once, and where it starts in the block; by its identity."""
    read_s: float
    pinned: bool = False
    kept: bool = False
    """Whether a cache holds it."""

    @property
    def bytes(self) -> int:
        """The size of the block."""
        return int(self.block.numel())

    def __del__(self) -> None:
        if self.pinned:
            with suppress(Exception):  # while the process ends there may be no CUDA any more
                torch.cuda.cudart().cudaHostUnregister(self.block.data_ptr())


@dataclass(slots=True, eq=False)
class Placed:
    """A model on a device, ready to run."""

    module: Any
    seconds: float
    """What the copy took."""
    bytes: int
    device: torch.device
    timing: Timing | None = None
    """Of the whole load, where a cache did it."""


class WeightCache:
    """Models' weights in host memory, the most useful ones within a budget.

    May be used from several threads.

    Args:
        budget_gb: gigabytes that may be kept; 0 keeps nothing.
        pin: whether what is kept is page-locked; None: where there is CUDA.
    """

    def __init__(self, budget_gb: float, *, pin: bool | None = None) -> None:
        self.budget_gb = budget_gb
        self.timings: deque[Timing] = deque(maxlen=_REMEMBERED)
        """The last loads, the latest at the end."""
        self._pin = torch.cuda.is_available() if pin is None else pin
        self._held: dict[tuple[str, torch.dtype | None], HostWeights] = {}
        self._asked: Counter[tuple[str, torch.dtype | None]] = Counter()
        self._reads = 0
        self._lock = threading.Lock()

    @property
    def held_bytes(self) -> int:
        """What is kept now."""
        with self._lock:
            return sum(host.bytes for host in self._held.values())

    def read(self, path: str | Path, dtype: torch.dtype | None = None) -> HostWeights:
        """Return a model's weights in host memory: kept ones, else from disk.

        Args:
            path: a folder with config.json and safetensors files.
            dtype: what floating point weights are cast to; None leaves them as they are stored.

        Raises:
            Mistake: there is no such model, or its files are not whole.
        """
        key = str(Path(path).absolute()), dtype
        with self._lock:
            self._age()
            self._asked[key] += 1
            if key in self._held:
                return self._held[key]
        with _READING:
            with self._lock:  # another thread may have read it meanwhile
                if key in self._held:
                    return self._held[key]
            checkpoint = examine(path)
            keep = self._make_room(key, checkpoint.bytes(dtype))
            host = _read(checkpoint, dtype, pin=self._pin and keep)
            if keep:
                host.kept = True
                with self._lock:
                    self._held[key] = host
            return host

    def load(
        self, path: str | Path, dtype: torch.dtype | None, device: torch.device, stream: Any = None
    ) -> Placed:
        """Read a model and place it; nothing is read where it cannot fit.

        Raises:
            Mistake: there is no such model, its files are not whole, or it is too large.
        """
        with self._lock:
            held = (str(Path(path).absolute()), dtype) in self._held
        if not held:
            check_fits(str(path), examine(path).bytes(dtype), device, of="total")
        start = time.perf_counter()
        host = self.read(path, dtype)
        read_s = 0.0 if held else time.perf_counter() - start
        placed = place(host, device, stream)
        placed.timing = Timing(host.name, host.bytes, read_s, placed.seconds, host.pinned)
        self.timings.append(placed.timing)
        return placed

    def clear(self) -> None:
        """Give up everything that is kept."""
        with self._lock:
            for host in self._held.values():
                host.kept = False
            self._held.clear()

    def _age(self) -> None:
        self._reads += 1
        if self._reads % _AGE == 0:
            for key in list(self._asked):
                self._asked[key] //= 2
            self._asked += Counter()  # drops what has come to nothing

    def _make_room(self, key: tuple[str, torch.dtype | None], size: int) -> bool:
        """Give up what is less useful until `size` bytes fit; return whether they do."""
        budget = self.budget_gb * 1e9
        with self._lock:
            free = budget - sum(host.bytes for host in self._held.values())
            less = [one for one in self._held if self._asked[one] < self._asked[key]]
            less.sort(key=lambda one: self._asked[one])
            given_up = []
            for one in less:
                if free >= size:
                    break
                free += self._held[one].bytes
                given_up.append(one)
            if free < size:
                return False
            for one in given_up:
                self._held.pop(one).kept = False
            return True


def place(host: HostWeights, device: torch.device, stream: Any = None) -> Placed:
    """Copy a model to a device and return it there when it is ready to run.

    What runs on the device goes on meanwhile; call it in a thread of its own. Where the device is
    the CPU nothing is copied: both are the same memory, which is free when nobody uses it.

    Args:
        host: the weights.
        device: where to.
        stream: the CUDA stream to copy on; the device's current one unless told.

    Raises:
        Mistake: the device has no room for it.
    """
    start = time.perf_counter()
    check_fits(host.name, host.bytes, device, of="free")
    block = host.block if device.type == "cpu" else _copied(host.block, device, stream)
    memo: dict[int, Any] = {k: _view(block, tensor, at) for k, (tensor, at) in host.views.items()}
    configs = (getattr(part, "config", None) for part in host.module.modules())
    memo.update((id(config), config) for config in configs if config is not None)  # large, constant
    module = copy.deepcopy(host.module, memo)
    return Placed(module, time.perf_counter() - start, host.bytes, device)


def free(placed: Placed) -> None:
    """Free a placed model's memory, whoever still holds its module; may be called twice.

    Best called by the thread that computes on the device: what another one allocates between the
    two steps of freeing may come to lie in this memory, which then stays torch's and in pieces.
    """
    module, placed.module = placed.module, None
    if module is None:
        return
    if placed.device.type == "cuda":
        torch.cuda.synchronize(placed.device)  # what still runs reads it
    with torch.inference_mode(False):
        for tensor in _tensors(module):
            tensor.data = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
    del module
    if placed.device.type == "cuda":
        with torch.cuda.device(placed.device):
            torch.cuda.empty_cache()


def check_fits(name: str, size: int, device: torch.device, *, of: str) -> None:
    """Check that so many bytes fit on a device: its ``total`` memory, or what is ``free`` of it.

    Raises:
        Mistake: they do not.
    """
    room = memory_of(device)[0 if of == "free" else 1]
    if size > room:
        what = "is free on" if of == "free" else "is all that there is on"
        raise Mistake(
            f"{name}: its weights take {size / 1e9:.3g} GB, and {room / 1e9:.3g} GB {what} "
            f"{device}; use a smaller dtype, a smaller model or a larger card"
        )


def memory_of(device: torch.device) -> tuple[int, int]:
    """Return the bytes of a device that are free for tensors, and all of them."""
    if device.type == "cuda":
        free_bytes, total = torch.cuda.mem_get_info(device)
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return free_bytes + unused, total
    total = int(machine.memory_gb() * 1e9)
    return total, total  # what is free of it nobody knows: caches give way


def _read(checkpoint: Checkpoint, dtype: torch.dtype | None, *, pin: bool) -> HostWeights:
    """Read a model from disk into one block."""
    start = time.perf_counter()
    module = from_disk(checkpoint, dtype)
    block, views = _in_one_block(module)
    host = HostWeights(str(checkpoint.folder), module, block, views, 0.0)
    if pin and torch.cuda.is_available():
        status = torch.cuda.cudart().cudaHostRegister(block.data_ptr(), block.numel(), _PORTABLE)
        host.pinned = int(status) == 0  # else it stays pageable: slower, and all the same
    host.read_s = time.perf_counter() - start
    return host


def _in_one_block(module: Any) -> tuple[torch.Tensor, dict[int, tuple[torch.Tensor, int]]]:
    """Lay a module's tensors into one block, one after the other."""
    tensors = list(_tensors(module))
    starts, size = [], 0
    for tensor in tensors:
        starts.append(size)
        size += -(-tensor.nbytes // ALIGNMENT) * ALIGNMENT
    block = torch.empty(size, dtype=torch.uint8)
    views = {}
    for tensor, at in zip(tensors, starts, strict=True):
        view = _raw_view(block, tensor, at)
        view.copy_(tensor)
        tensor.data = view
        views[id(tensor)] = tensor, at
    return block, views


def _tensors(module: Any) -> Iterator[torch.Tensor]:
    """Yield every parameter and buffer of a module, each once."""
    yield from module.parameters()
    yield from module.buffers()


def _raw_view(block: torch.Tensor, like: torch.Tensor, at: int) -> torch.Tensor:
    return block[at : at + like.nbytes].view(like.dtype).view(like.shape)


def _view(block: torch.Tensor, like: torch.Tensor, at: int) -> torch.Tensor:
    """Return what stands in a block where `like` stands in its own: a parameter, or a buffer."""
    view = _raw_view(block, like, at)
    if isinstance(like, torch.nn.Parameter):
        return torch.nn.Parameter(view, requires_grad=False)
    return view


def _copied(block: torch.Tensor, device: torch.device, stream: Any) -> torch.Tensor:
    """Return a copy of a block on a device, once it is whole."""
    on_card = device.type == "cuda"
    try:
        copied = torch.empty(block.numel(), dtype=torch.uint8, device=device)
    except torch.OutOfMemoryError:
        raise Mistake(
            f"{device} has no {block.numel() / 1e9:.3g} GB in one piece; leave more room"
        ) from None
    with ExitStack() as contexts:
        if on_card:
            contexts.enter_context(torch.cuda.device(device))
        if on_card and stream is not None:
            stream.wait_stream(torch.cuda.current_stream(device))  # which may use the memory yet
            contexts.enter_context(torch.cuda.stream(stream))
        for at in range(0, block.numel(), CHUNK):
            copied[at : at + CHUNK].copy_(block[at : at + CHUNK], non_blocking=True)
        if on_card:
            done = torch.cuda.Event()
            done.record()
            done.synchronize()
    return copied
