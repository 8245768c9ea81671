"""How much memory the server may use: a share of what this machine, or this container, has."""

import os
from pathlib import Path

_CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")
_MIB = 1024 * 1024
_LEAST, _MOST = 128, 1024
"""MiB of shared buffers; what is more pays only in a database that deserves a machine of its own."""


def memory_settings(container_limit: Path = _CONTAINER_LIMIT) -> dict[str, str]:
    """An eighth as shared buffers, and the hint that half of it caches files: Tidings needs room too."""
    mib = _available(container_limit) // _MIB
    return {
        "shared_buffers": f"{min(max(mib // 8, _LEAST), _MOST)}MB",
        "effective_cache_size": f"{max(mib // 2, 2 * _LEAST)}MB",
    }


def _available(container_limit: Path) -> int:
    """Bytes."""
    has = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        # "max" where there is no limit.
        return min(has, int(container_limit.read_text()))
    except (OSError, ValueError):
        return has
