"""Free memory of a device."""

from pathlib import Path

import torch


def free_memory(device: torch.device) -> int | None:
    """Return the bytes that can be allocated on a device, or ``None`` if they are not known.

    On the CPU it is what Linux calls available, within the limit of the control group, as of a container.

    Args:
        device: A CPU or CUDA device.
    """
    if device.type == 'cuda':
        return torch.cuda.mem_get_info(device)[0]
    if device.type != 'cpu':
        return None
    try:
        lines = dict(line.split(':') for line in Path('/proc/meminfo').read_text().splitlines())
        available = 1024 * int(lines['MemAvailable'].split()[0])
    except (OSError, KeyError, ValueError):  # not Linux
        return None
    try:
        limit, used = (int(Path(f'/sys/fs/cgroup/memory.{name}').read_text()) for name in ('max', 'current'))
    except (OSError, ValueError):  # no control group, or one without a limit
        return available
    return min(available, max(limit - used, 0))


def memory_text(size: int) -> str:
    """Return a number of bytes in MiB or GiB: ``'146 MiB'``."""
    return f'{size / 2**20:,.0f} MiB' if size < 2**30 else f'{size / 2**30:,.1f} GiB'
