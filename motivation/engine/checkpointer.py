"""Everything of a run that has state, each under its name; a checkpoint saves and restores all of it."""

import re
from collections.abc import Collection, Iterable, Mapping
from itertools import chain, count
from pathlib import Path
from typing import Any, Protocol

from mmengine.hooks import Hook

from motivation.engine.hook_state import HookStates, find_state_class, is_of_framework
from motivation.errors import ConfigError
from motivation.utils.checkpoint import check_plain, to_plain

# The layout of a checkpoint. Before 2, hooks wrote into it as each liked.
FORMAT = 2

# What a checkpoint holds beside the state of the parts.
_OF_THE_FILE = ('format', 'meta', 'parts')

# The part of the hooks whose state no one has registered.
_OTHER_HOOKS = 'hooks'


class Stateful(Protocol):
    """Something whose state a resumed run needs."""

    def state_dict(self) -> Any:
        """Return the state as plain data: numbers, strings, lists, dicts, arrays or tensors."""

    def load_state_dict(self, state_dict: Any) -> Any:
        """Restore what :meth:`state_dict` returned."""


class Checkpointer:
    """Saves and restores the state of whatever is registered with it.

    A checkpoint is a dict with the state of each part under the part's name, beside ``'format'``, a
    number, ``'meta'``, which describes the run, and ``'parts'``, the names of the parts. A hook of a
    user's or of MMEngine's can add entries of its own (``before_save_checkpoint``).

    Attributes:
        parts: What is registered, by name.

    Example:
        >>> runner.checkpointer.register('curriculum', curriculum)  # with state_dict and load_state_dict
    """

    def __init__(self) -> None:
        self.parts: dict[str, Stateful] = {}
        self._other_hooks = HookStates()
        self._hook_configs: list[tuple[Hook, dict[str, Any]]] = []

    def register(self, name: str, part: Stateful) -> None:
        """Save and restore a part from now on.

        Args:
            name: Its name in the checkpoint; a part registered before under the same name is replaced.
            part: The part.

        Raises:
            ValueError: Checkpoints use the name for something else.
        """
        if name in (*_OF_THE_FILE, _OTHER_HOOKS):
            raise ValueError(f'name must be none of {", ".join((*_OF_THE_FILE, _OTHER_HOOKS))}, got {name!r}')
        self.parts[name] = part

    def note_hook_configs(self, configs: Iterable[tuple[Any, Any]]) -> None:
        """Note what hooks that are about to be registered were built from."""
        self._hook_configs += [(hook, node) for hook, node in configs if isinstance(node, dict)]

    def register_hook(self, hook: Hook, config: dict[str, Any] | None = None) -> None:
        """Save and restore what a hook remembers from now on.

        A hook of this framework is a part by itself, named by its class (``ReportHook`` is ``'report'``);
        for others, see :class:`~motivation.engine.hook_state.HookStates`.

        Args:
            hook: The hook, just built.
            config: What it was built from.
        """
        built_from = next((node for built, node in self._hook_configs if built is hook), None)
        self._other_hooks.add(hook, config or built_from)
        cls = find_state_class(hook)
        if cls is not None and is_of_framework(cls):
            name = re.sub(r'(?<!^)(?=[A-Z])', '_', cls.__name__).lower().removesuffix('_hook')
            others = (f'{name}_{number}' for number in count(2))  # of several of one class
            self.register(next(free for free in chain([name], others) if free not in self.parts), hook)

    def settle(self) -> None:
        """Note what ``before_run`` has set in the hooks, before anything is restored."""
        self._other_hooks.settle()

    def state_dict(self) -> dict[str, Any]:
        """Return the state of every part by its name.

        Raises:
            ConfigError: The ``state_dict()`` of a hook is not plain.
        """
        states = {name: part.state_dict() for name, part in self.parts.items()}
        return {**states, _OTHER_HOOKS: self._other_hooks.state_dict()}

    def check_state(self) -> None:
        """Refuse parts whose state no checkpoint can hold, before there is anything to lose.

        Raises:
            ConfigError: Names the part.
        """
        for name, state in self.state_dict().items():
            check_plain(to_plain(state), name)

    def load_state_dict(self, states: Mapping[str, Any], without: Collection[str] = ()) -> list[str]:
        """Restore what :meth:`state_dict` returned.

        Args:
            states: The state of each part by its name.
            without: Names of the parts to leave as they are.

        Returns:
            A clause for each part that the run has and ``states`` lacks, or the other way round.
        """
        said = [f'has no state of {name!r}, which begins anew' for name in self.parts if name not in states]
        left = [repr(name) for name in states if name not in self.parts and name != _OTHER_HOOKS]
        for name, part in self.parts.items():
            if name in states and name not in without:
                part.load_state_dict(states[name])
        left += [f'a {name}' for name in self._other_hooks.load_state_dict(states.get(_OTHER_HOOKS, []))]
        return said + [f'has the state of {name}, which the run no longer has; going on without' for name in left]


def check_format(checkpoint: Mapping[str, Any], path: Path) -> None:
    """Refuse to resume from a checkpoint of another version, whose weights alone can be read.

    Raises:
        ConfigError: Its format is another.
    """
    found = checkpoint.get('format', 1)
    if found != FORMAT:
        version = 'an earlier' if found < FORMAT else 'a later'
        raise ConfigError(
            f"checkpoint '{path}' has format {found}, of {version} version, and --resume needs format {FORMAT}; resume with "
            "that version, or begin a new run with the checkpoint's weights as load_from"
        )
