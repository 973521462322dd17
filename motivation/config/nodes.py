"""Traversing a config."""

from collections.abc import Iterator
from typing import Any


def nodes(node: Any, path: str = '') -> Iterator[tuple[str, Any]]:
    """Yield the dotted path and value of everything below a node."""
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, (list, tuple)) else ()
    for key, child in children:
        place = f'{path}.{key}' if path else str(key)
        yield place, child
        yield from nodes(child, place)
