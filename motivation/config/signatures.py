"""What a component takes, read from its signature."""

import enum
import inspect
import math
import os
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

_WORDS = {
    bool: 'True or False',
    int: 'a whole number',
    float: 'a finite number',
    str: 'a string',
    types.NoneType: 'None',
}


def arguments_of(component: Callable[..., Any]) -> tuple[dict[str, inspect.Parameter], bool]:
    """The arguments of a class or function, with the types of their annotations.

    A constructor that takes ``*args, **kwargs`` hands on to the next of its bases.

    Returns:
        Parameters by name, and whether it takes any others besides.
    """
    functions: list[Any] = [component]
    if isinstance(component, type):
        functions = [vars(base)['__init__'] for base in component.__mro__ if '__init__' in vars(base)]
    found: dict[str, inspect.Parameter] = {}
    for function in functions:
        parameters = dict(inspect.signature(function).parameters)
        if isinstance(component, type):
            parameters.pop(next(iter(parameters)), None)  # the instance, whatever it is called
        kinds = {parameter.kind for parameter in parameters.values()}
        for name, parameter in parameters.items():
            if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                found.setdefault(name, parameter.replace(annotation=_annotation(function, name)))
        if not {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD} <= kinds:
            break
    return found, inspect.Parameter.VAR_KEYWORD in kinds


def _annotation(function: Any, name: str) -> Any:
    """The annotation of one argument; ``empty`` where there is none, or one for a type checker alone."""
    annotations = getattr(function, '__annotations__', {})
    if name not in annotations:
        return inspect.Parameter.empty
    alone = types.SimpleNamespace(__annotations__={name: annotations[name]})
    try:
        return typing.get_type_hints(alone, getattr(function, '__globals__', {}))[name]
    except Exception:  # a name that is not imported at run time
        return inspect.Parameter.empty


def fits(value: Any, annotation: Any) -> bool:
    """Whether a value of a config can be meant by an annotation; where in doubt, it can.

    Lists serve as tuples and whole numbers as floats; nan and infinity are no numbers.
    """
    kind, inner = typing.get_origin(annotation) or annotation, typing.get_args(annotation)
    if kind in (typing.Union, types.UnionType):
        return any(fits(value, member) for member in inner)
    if kind is typing.Literal:
        return value in inner
    if not _is_class(kind) or kind in (object, Any, inspect.Parameter.empty):
        return True
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if kind is float:
        whole = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1e300
        return whole or (isinstance(value, float) and math.isfinite(value))
    if issubclass(kind, Mapping):
        return isinstance(value, Mapping)
    if issubclass(kind, Sequence) and kind is not str:
        plain = all(member in (int, float, str, ...) for member in inner)
        return isinstance(value, (list, tuple)) and (
            not plain or not inner or all(fits(item, inner[0]) for item in value)
        )
    if kind is Callable or issubclass(kind, os.PathLike):
        return isinstance(value, (str, dict, kind)) or callable(value)
    if kind in (bool, str, types.NoneType):
        return isinstance(value, kind)
    # What is built from a dict may stand for any other class.
    return isinstance(value, kind) or not isinstance(value, (bool, int, float, str, bytes, list, tuple, type(None)))


def in_words(annotation: Any) -> str:
    """What an annotation asks for, such as ``'a whole number or None'``."""
    kind, inner = typing.get_origin(annotation) or annotation, typing.get_args(annotation)
    if kind in (typing.Union, types.UnionType):
        return ' or '.join(dict.fromkeys(filter(None, map(in_words, inner))))
    if kind is typing.Literal:
        return ' or '.join(map(repr, inner))
    if kind in _WORDS:
        return _WORDS[kind]
    if _is_class(kind) and issubclass(kind, enum.Enum):
        return ' or '.join(repr(member.value) for member in kind)
    if kind is torch.dtype:
        return "the name of a dtype, such as 'float32'"
    if _is_class(kind) and issubclass(kind, Mapping):
        return 'a dict'
    if _is_class(kind) and issubclass(kind, Sequence):
        of = {int: ' of whole numbers', float: ' of numbers', str: ' of strings'}
        return 'a list' + (of.get(inner[0], '') if inner else '')
    return ''


def _is_class(kind: Any) -> bool:
    return isinstance(kind, type)
