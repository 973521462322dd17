"""Saving and restoring the state of MMEngine's and user-defined hooks."""

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

# Attributes that MMEngine sets when it registers a hook.
_NO_STATE = frozenset({'priority'})

# Key of the dict that stands for a set in plain data.
_SET = 'set of'


class HookStates:
    """Saves and restores the state of the hooks of a run.

    A user-defined hook with ``state_dict`` and ``load_state_dict`` is saved by them. A hook that writes into the
    checkpoint itself (``before_save_checkpoint``) is only listed, so that a resumed run without it can say so. The
    state of any other hook is its attributes of plain data that have changed since it was built. Not restored are
    attributes that ``before_run`` sets to another value than in the resumed run (a clock, a path). Attributes that the
    code of MMEngine's and this framework's hooks sets are not saved either, except those of early stopping.

    A saved hook is matched by class and arguments, else by class and order.
    """

    def __init__(self) -> None:
        # Each hook with its arguments and its attributes when it was built.
        self._hooks: list[tuple[Hook, dict[str, Any], dict[str, Any]]] = []
        self._settled: dict[int, dict[str, Any]] = {}

    def add(self, hook: Hook, config: dict[str, Any] | None = None) -> None:
        """Add a hook that has just been built.

        Args:
            hook: The hook.
            config: The config that it was built from; ``None`` (default) takes the attributes named like arguments.
        """
        built = _attributes(hook)
        arguments = arguments_of(type(hook))[0]
        given = _plain_items(config) if config else {name: built[name] for name in arguments if name in built}
        given = {name: value for name, value in given.items() if name not in ('type', 'priority')}
        self._hooks.append((hook, given, built))

    def settle(self) -> None:
        """Record what has been set in the hooks before anything is restored."""
        self._settled = {id(hook): _changes(hook, built) for hook, _, built in self._hooks}

    def state_dict(self) -> list[dict[str, Any]]:
        """Return the state of every hook that has any, as plain data.

        Raises:
            ConfigError: The ``state_dict()`` of a hook is not plain data.
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
        """Restore the states that :meth:`state_dict` returned.

        Returns:
            Class names of the saved hooks that match no hook of the run.
        """
        unmatched = list(entries)
        hooks = {id(hook): (hook, arguments, built) for hook, arguments, built in self._hooks}
        for matches in (_same, lambda *_: True):
            for key, (hook, arguments, built) in list(hooks.items()):
                for entry in unmatched:
                    if entry['class'] == type(hook).__qualname__ and matches(entry['arguments'], arguments):
                        self._restore(hook, built, entry['state'], entry['settled'])
                        unmatched = [other for other in unmatched if other is not entry]
                        del hooks[key]
                        break
        for hook, _, built in hooks.values():
            self._restore(hook, built, {}, {})
        return [entry['class'] for entry in unmatched]

    def _restore(self, hook: Any, built: dict[str, Any], state: dict[str, Any], settled: dict[str, Any]) -> None:
        if _saves_itself(hook):
            if state:
                hook.load_state_dict(state)
            return
        if not is_of_framework(_writer(hook)):
            return
        now = self._settled.get(id(hook), {})
        for name in _changes(hook, built).keys() - state.keys() - now.keys():  # changed since, within this process
            if name in built:
                _put(hook, name, _from_plain(_plain(built[name])))
            else:
                delattr(hook, name)
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
    """Return the class that defines a hook's ``before_save_checkpoint``."""
    return next(cls for cls in type(hook).__mro__ if 'before_save_checkpoint' in vars(cls))


def _writes_itself(hook: Hook) -> bool:
    return _writer(hook) is not Hook


def find_state_class(hook: Any) -> type | None:
    """Return the class that defines a hook's ``state_dict``, or ``None`` if it cannot save or load a state."""
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
    """Return the attributes of a hook that differ from those it was built with."""
    return {
        name: value for name, value in _attributes(hook).items() if name not in built or not _same(value, built[name])
    }


def _attributes(hook: Hook) -> dict[str, Any]:
    """Return copies of the attributes of plain data that are not set by a framework's class."""
    not_state = _NO_STATE.union(*map(_set_by, type(hook).__mro__))
    return _plain_items({name: value for name, value in vars(hook).items() if name not in not_state})


def _plain_items(items: dict[str, Any]) -> dict[str, Any]:
    """Return copies of the values that are plain data."""
    plain = {}
    for name, value in items.items():
        try:
            plain[name] = _plain(value)
        except TypeError:
            continue
    return plain


@cache
def _set_by(cls: type) -> frozenset[str]:
    """Return the names of the attributes that the code of a framework's hook class sets."""
    if not is_of_framework(cls) or cls is EarlyStoppingHook:
        return frozenset()
    functions = (function for function in vars(cls).values() if isinstance(function, FunctionType))
    steps = (step for function in functions for step in dis.get_instructions(function))
    return frozenset(step.argval for step in steps if step.opname == 'STORE_ATTR')


def _plain(value: Any) -> Any:
    """Return a copy of plain data.

    Raises:
        TypeError: The value is not plain data.
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
    if isinstance(value, (set, frozenset)):  # a checkpoint cannot hold a set
        return {_SET: [_plain(item) for item in sorted(value, key=repr)]}
    if value is None or isinstance(value, (bool, int, float, str, np.generic)):
        return value
    raise TypeError(type(value).__name__)


def _from_plain(value: Any) -> Any:
    """Return plain data with the sets that :func:`_plain` replaced."""
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
    return one == other or (one != one and other != other)  # NaN equals NaN


def _put(hook: Hook, name: str, value: Any) -> None:
    """Set an attribute, converted to the type of its current value."""
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
