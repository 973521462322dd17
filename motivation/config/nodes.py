"""Walking through a config."""

from collections.abc import Iterator
from typing import Any


def nodes(node: Any, path: str = '') -> Iterator[tuple[str, Any]]:
    """Everything below a node, with the dotted path to it."""
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, (list, tuple)) else ()
    for key, child in children:
        place = f'{path}.{key}' if path else str(key)
        yield place, child
        yield from nodes(child, place)
