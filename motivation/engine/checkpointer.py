"""Saving and restoring everything in a run that has state."""

import re
from collections.abc import Collection, Iterable, Mapping
from itertools import chain, count
from pathlib import Path
from typing import Any, Protocol

from mmengine.hooks import Hook

from motivation.engine.hook_state import HookStates, find_state_class, is_of_framework
from motivation.errors import ConfigError
from motivation.utils.checkpoint import check_plain, to_plain

# Version of the layout of a checkpoint. Before 2, every hook wrote its own entries.
FORMAT = 2

# Entries of a checkpoint besides the states of the parts.
_FILE_FIELDS = ('format', 'meta', 'parts')

# The entry of all hooks that are not parts by themselves.
_OTHER_HOOKS = 'hooks'


class Stateful(Protocol):
    """Something whose state a resumed run needs."""

    def state_dict(self) -> Any:
        """Return the state as plain data: numbers, strings, lists, dicts, arrays or tensors."""

    def load_state_dict(self, state_dict: Any) -> Any:
        """Restore the state that :meth:`state_dict` returned."""


class Checkpointer:
    """Saves and restores the state of everything that is registered with it.

    A checkpoint is a dict of the parts' states by name, with ``'format'`` (version number), ``'meta'`` (description of
    the run) and ``'parts'`` (names of the parts). MMEngine's and user-defined hooks can add entries in
    ``before_save_checkpoint``.

    Attributes:
        parts: The registered parts, by name.

    Example:
        >>> runner.checkpointer.register('curriculum', curriculum)  # with state_dict and load_state_dict
    """

    def __init__(self) -> None:
        self.parts: dict[str, Stateful] = {}
        self._other_hooks = HookStates()
        self._hook_configs: list[tuple[Hook, dict[str, Any]]] = []

    def register(self, name: str, part: Stateful) -> None:
        """Register a part, whose state is saved and restored from now on.

        Args:
            name: Name of the part in the checkpoint; an earlier part of that name is replaced.
            part: The part.

        Raises:
            ValueError: The name is reserved.
        """
        if name in (*_FILE_FIELDS, _OTHER_HOOKS):
            raise ValueError(f'name must be none of {", ".join((*_FILE_FIELDS, _OTHER_HOOKS))}, got {name!r}')
        self.parts[name] = part

    def note_hook_configs(self, configs: Iterable[tuple[Any, Any]]) -> None:
        """Note what hooks that are about to be registered were built from."""
        self._hook_configs += [(hook, node) for hook, node in configs if isinstance(node, dict)]

    def register_hook(self, hook: Hook, config: dict[str, Any] | None = None) -> None:
        """Register a hook, whose state is saved and restored from now on.

        A hook of this framework is a part by itself, named after its class (``ReportHook`` is ``'report'``); for
        others, see :class:`~motivation.engine.hook_state.HookStates`.

        Args:
            hook: The hook, just built.
            config: The config that it was built from.
        """
        built_from = next((node for built, node in self._hook_configs if built is hook), None)
        self._other_hooks.add(hook, config or built_from)
        cls = find_state_class(hook)
        if cls is not None and is_of_framework(cls):
            name = re.sub(r'(?<!^)(?=[A-Z])', '_', cls.__name__).lower().removesuffix('_hook')
            others = (f'{name}_{number}' for number in count(2))  # of several of one class
            self.register(next(free for free in chain([name], others) if free not in self.parts), hook)

    def settle(self) -> None:
        """Record what ``before_run`` has set in the hooks, before anything is restored."""
        self._other_hooks.settle()

    def state_dict(self) -> dict[str, Any]:
        """Return the state of every part, by name.

        Raises:
            ConfigError: The ``state_dict()`` of a hook is not plain data.
        """
        states = {name: part.state_dict() for name, part in self.parts.items()}
        return {**states, _OTHER_HOOKS: self._other_hooks.state_dict()}

    def check_state(self) -> None:
        """Check before training that a checkpoint can hold the state of every part.

        Raises:
            ConfigError: The state of a part is not plain data; names the part.
        """
        for name, state in self.state_dict().items():
            check_plain(to_plain(state), name)

    def load_state_dict(self, states: Mapping[str, Any], without: Collection[str] = ()) -> list[str]:
        """Restore the states that :meth:`state_dict` returned.

        Args:
            states: The state of each part, by name.
            without: Names of parts that are not restored.

        Returns:
            A clause for each part that is only in the run or only in ``states``.
        """
        missing = [
            f'has no state of {name!r}, which keeps its initial state' for name in self.parts if name not in states
        ]
        unused = [repr(name) for name in states if name not in self.parts and name != _OTHER_HOOKS]
        for name, part in self.parts.items():
            if name in states and name not in without:
                part.load_state_dict(states[name])
        unused += [f'a {name}' for name in self._other_hooks.load_state_dict(states.get(_OTHER_HOOKS, []))]
        return missing + [f'has the state of {name}, which the run no longer has; it is ignored' for name in unused]


def check_format(checkpoint: Mapping[str, Any], path: Path) -> None:
    """Check the format of a checkpoint that is resumed; of other formats only the weights can be loaded.

    Raises:
        ConfigError: The checkpoint has another format.
    """
    number = checkpoint.get('format', 1)
    if number != FORMAT:
        version = 'an earlier' if number < FORMAT else 'a later'
        raise ConfigError(
            f"checkpoint '{path}' has format {number}, of {version} version, and --resume needs format {FORMAT}; resume with "
            "that version, or begin a new run with the checkpoint's weights as load_from"
        )
