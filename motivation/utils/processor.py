"""The name of the processor, to say where a time was measured."""

import platform
from pathlib import Path

_DESCRIPTION = Path('/proc/cpuinfo')  # of Linux, where platform.processor() is the architecture at most


def processor_name() -> str:
    """Return the name of this machine's processor, or its architecture where the name is not known."""
    lines = _DESCRIPTION.read_text().splitlines() if _DESCRIPTION.is_file() else []
    names = [line.partition(':')[2].strip() for line in lines if line.startswith('model name')]
    return (names[0] if names else platform.processor()) or platform.machine()
