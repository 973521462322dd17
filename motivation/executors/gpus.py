"""The GPUs of this machine, and which of them the next run gets; opens no CUDA context."""

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_QUERY = ('nvidia-smi', '--query-gpu=uuid,memory.used,memory.total', '--format=csv,noheader,nounits')

# A GPU is shared if what is free is at least so many times what the largest run so far needed.
_MARGIN = 1.2

_SECONDS = 2.0  # at least, between two readings while runs go on


@dataclass(frozen=True)
class Gpu:
    """The memory of a GPU.

    Attributes:
        name: What ``CUDA_VISIBLE_DEVICES`` calls it.
        used: Memory in use by whomever, in MiB.
        total: All of its memory, in MiB.
    """

    name: str
    used: int
    total: int


def read_gpus(environment: Mapping[str, str] = os.environ) -> list[Gpu]:
    """Ask ``nvidia-smi`` for the GPUs that ``CUDA_VISIBLE_DEVICES`` leaves visible; ``[]`` where there are none.

    A GPU without memory of its own in the answer, such as a MIG slice, counts as full, so it gets one run at a time.
    """
    try:
        done = subprocess.run(_QUERY, capture_output=True, text=True, check=True, timeout=30)
        gpus = [Gpu(uuid, int(used), int(total)) for uuid, used, total in map(_cells, done.stdout.splitlines())]
    except (OSError, subprocess.SubprocessError, ValueError):
        return []
    visible = environment.get('CUDA_VISIBLE_DEVICES')
    if visible is None:
        return gpus
    named = []
    for name in filter(None, map(str.strip, visible.split(','))):
        if name == '-1':  # CUDA ignores what comes after an invalid number
            break
        found = (
            gpus[int(name) : int(name) + 1] if name.isdigit() else [gpu for gpu in gpus if gpu.name.startswith(name)]
        )
        if name.isdigit() and not found:
            break
        named.append(Gpu(name, found[0].used, found[0].total) if found else Gpu(name, 0, 0))
    return named


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split(',')]


class GpuPool:
    """The GPUs of this machine and the number of runs on each.

    A run gets the GPU with the fewest runs. It shares one only once the memory of a run is known, that is after one has
    ended, and if the free memory is at least 1.2 times what the largest run so far needed.

    Args:
        gpus: All GPUs, before the first run.
    """

    def __init__(self, gpus: Sequence[Gpu]) -> None:
        self._before = {gpu.name: gpu.used for gpu in gpus}
        self._runs = dict.fromkeys(self._before, 0)
        self._most = dict.fromkeys(self._before, 0.0)  # MiB that a run on the GPU was seen to need
        self._largest = 0.0  # the same of runs that have ended
        self._read = 0.0

    def take(self) -> str | None:
        """Return the name of the GPU for another run, or ``None`` if none has room for it."""
        name = min(self._runs, key=lambda name: self._runs[name])
        if self._runs[name]:
            self._observe()
            fitting = [gpu.name for gpu in read_gpus() if gpu.name in self._runs and self._has_room(gpu)]
            if not fitting:
                return None
            name = min(fitting, key=lambda name: self._runs[name])
        self._runs[name] += 1
        return name

    def give_back(self, name: str) -> None:
        """Note that a run on a GPU has ended."""
        self._runs[name] -= 1
        self._largest = max(self._largest, self._most[name])

    def watch(self) -> None:
        """Note how much memory the runs need, if the last reading is older than two seconds."""
        if time.monotonic() - self._read >= _SECONDS:
            self._observe()

    def _observe(self) -> None:
        self._read = time.monotonic()
        for gpu in read_gpus():
            if self._runs.get(gpu.name):
                need = (gpu.used - self._before[gpu.name]) / self._runs[gpu.name]
                self._most[gpu.name] = max(self._most[gpu.name], need)

    def _has_room(self, gpu: Gpu) -> bool:
        need = max(self._largest, *self._most.values())
        # A run that has just started will need its memory, whatever the GPU says now.
        used = max(gpu.used, self._before[gpu.name] + self._runs[gpu.name] * need)
        return self._largest > 0 and gpu.total - used >= _MARGIN * need
