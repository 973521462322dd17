"""The state of hooks that do not save it themselves: MMEngine's and the user's own."""

import dis
from collections import deque
from functools import cache
from types import FunctionType
from typing import Any

import numpy as np
from mmengine.hooks import EarlyStoppingHook, Hook
from torch import Tensor

from motivation.utils.arguments import arguments_of
from motivation.utils.checkpoint import check_plain

# What MMEngine gives a hook when it is registered.
_NO_STATE = frozenset({'priority'})

# What a set is called among plain data.
_SET = 'set of'


class HookStates:
    """Saves and restores what the hooks of a run remember.

    Of a user's hook with ``state_dict`` and ``load_state_dict`` these are used. One that writes into the
    checkpoint itself (``before_save_checkpoint``) is only noted, so that a run which lacks it is told. Of any
    other the state is its attributes of plain data that differ from what they were when it was built. What
    ``before_run`` sets otherwise than in the run that is resumed (a clock, a path) is of the current process,
    and stays; what the code of MMEngine's and this framework's own hooks sets is not saved here either, but
    for early stopping.

    A hook is found again by its class and the arguments it was built with, else by its class and order.
    """

    def __init__(self) -> None:
        # Each hook with its arguments and the attributes that it was built with.
        self._hooks: list[tuple[Hook, dict[str, Any], dict[str, Any]]] = []
        self._settled: dict[int, dict[str, Any]] = {}

    def add(self, hook: Hook, config: dict[str, Any] | None = None) -> None:
        """Take in a hook that has just been built.

        Args:
            hook: The hook.
            config: What it was built from; without, its attributes of the names of arguments are taken for these.
        """
        built = _attributes(hook)
        arguments = arguments_of(type(hook))[0]
        given = _plain_items(config) if config else {name: built[name] for name in arguments if name in built}
        given = {name: value for name, value in given.items() if name not in ('type', 'priority')}
        self._hooks.append((hook, given, built))

    def settle(self) -> None:
        """Note what has been set in the hooks before anything is restored."""
        self._settled = {id(hook): _changes(hook, built) for hook, _, built in self._hooks}

    def state_dict(self) -> list[dict[str, Any]]:
        """The state of every hook that has any, as plain data.

        Raises:
            ConfigError: The ``state_dict()`` of a hook is not plain.
        """
        entries = []
        for hook, arguments, built in self._hooks:
            state = _state(hook, built)
            if state or _writes_itself(hook):
                entries.append(
                    {
                        'class': type(hook).__qualname__,
                        'arguments': arguments,
                        'state': state,
                        'settled': self._settled.get(id(hook), {}),
                    }
                )
        return entries

    def load_state_dict(self, entries: list[dict[str, Any]]) -> list[str]:
        """Restore what :meth:`state_dict` returned.

        Returns:
            The classes of the hooks that are no longer there, or have lost their state.
        """
        left = list(entries)
        hooks = {id(hook): (hook, arguments) for hook, arguments, _ in self._hooks}
        for alike in (_same, lambda *_: True):
            for key, (hook, arguments) in list(hooks.items()):
                for entry in left:
                    if entry['class'] == type(hook).__qualname__ and alike(entry['arguments'], arguments):
                        if entry['state']:
                            self._restore(hook, entry['state'], entry['settled'])
                        left = [other for other in left if other is not entry]
                        del hooks[key]
                        break
        return [entry['class'] for entry in left]

    def _restore(self, hook: Any, state: dict[str, Any], settled: dict[str, Any]) -> None:
        if _saves_itself(hook):
            hook.load_state_dict(state)
            return
        now = self._settled.get(id(hook), {})
        for name, value in state.items():
            if name not in now or (name in settled and _same(now[name], settled[name])):
                _put(hook, name, _from_plain(value))


def _state(hook: Any, built: dict[str, Any]) -> dict[str, Any]:
    if _saves_itself(hook):
        state = hook.state_dict()
        check_plain(state, f'{type(hook).__name__}.state_dict()')
        return state
    return _changes(hook, built) if is_of_framework(_writer(hook)) else {}


def _writer(hook: Hook) -> type:
    """The class that a hook has its ``before_save_checkpoint`` from."""
    return next(cls for cls in type(hook).__mro__ if 'before_save_checkpoint' in vars(cls))


def _writes_itself(hook: Hook) -> bool:
    return _writer(hook) is not Hook


def find_state_class(hook: Any) -> type | None:
    """Return the class that a hook has its ``state_dict`` from; ``None`` if it has none, or cannot load it."""
    if not callable(getattr(hook, 'state_dict', None)) or not callable(getattr(hook, 'load_state_dict', None)):
        return None
    return next((cls for cls in type(hook).__mro__ if 'state_dict' in vars(cls)), type(hook))


def is_of_framework(cls: type) -> bool:
    """Return whether a class is MMEngine's or this framework's."""
    return cls.__module__.partition('.')[0] in ('mmengine', 'motivation')


def _saves_itself(hook: Hook) -> bool:
    cls = find_state_class(hook)
    return cls is not None and not is_of_framework(cls)


def _changes(hook: Hook, built: dict[str, Any]) -> dict[str, Any]:
    """The attributes that differ from what they were."""
    return {
        name: value for name, value in _attributes(hook).items() if name not in built or not _same(value, built[name])
    }


def _attributes(hook: Hook) -> dict[str, Any]:
    """Copies of the attributes of plain data that are the hook's own."""
    not_state = _NO_STATE.union(*map(_set_by, type(hook).__mro__))
    return _plain_items({name: value for name, value in vars(hook).items() if name not in not_state})


def _plain_items(items: dict[str, Any]) -> dict[str, Any]:
    """Copies of the values that are plain data."""
    found = {}
    for name, value in items.items():
        try:
            found[name] = _plain(value)
        except TypeError:
            continue
    return found


@cache
def _set_by(cls: type) -> frozenset[str]:
    """Names of attributes that the code of a framework's hook class sets."""
    if not is_of_framework(cls) or cls is EarlyStoppingHook:
        return frozenset()
    functions = (function for function in vars(cls).values() if isinstance(function, FunctionType))
    steps = (step for function in functions for step in dis.get_instructions(function))
    return frozenset(step.argval for step in steps if step.opname == 'STORE_ATTR')


def _plain(value: Any) -> Any:
    """A copy of plain data.

    Raises:
        TypeError: It is none.
    """
    if isinstance(value, Tensor):
        return value.detach().cpu().clone()
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, dict):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(_plain(item) for item in value)
    if isinstance(value, (list, deque)):
        return [_plain(item) for item in value]
    if isinstance(value, (set, frozenset)):  # which no checkpoint holds
        return {_SET: [_plain(item) for item in sorted(value, key=repr)]}
    if value is None or isinstance(value, (bool, int, float, str, np.generic)):
        return value
    raise TypeError(type(value).__name__)


def _from_plain(value: Any) -> Any:
    """Turn the sets of :func:`_plain` back."""
    if isinstance(value, dict):
        return set(value[_SET]) if value.keys() == {_SET} else {key: _from_plain(item) for key, item in value.items()}
    return type(value)(map(_from_plain, value)) if isinstance(value, (list, tuple)) else value


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, (Tensor, np.ndarray)) or isinstance(other, (Tensor, np.ndarray)):
        shapes = getattr(one, 'shape', None), getattr(other, 'shape', None)
        return shapes[0] == shapes[1] and bool((np.asarray(one) == np.asarray(other)).all())
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(_same, one, other))
    return one == other or (one != one and other != other)  # nan is what it was


def _put(hook: Hook, name: str, value: Any) -> None:
    """Set an attribute, in the kind of collection that the hook has built for it."""
    now = getattr(hook, name, None)
    if isinstance(now, dict) and isinstance(value, dict):
        now.clear()
        now.update(value)
    elif isinstance(now, deque) and isinstance(value, list):
        setattr(hook, name, deque(value, now.maxlen))
    elif isinstance(now, frozenset) and isinstance(value, set):
        setattr(hook, name, frozenset(value))
    elif isinstance(now, np.ndarray) and isinstance(value, Tensor):
        setattr(hook, name, value.cpu().numpy())
    elif isinstance(now, Tensor) and isinstance(value, Tensor):
        setattr(hook, name, value.to(now.device))
    else:
        setattr(hook, name, value)
