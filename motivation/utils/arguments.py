"""Checking arguments against the types and bounds in a signature, with pydantic."""

import enum
import functools
import inspect
import os
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, ParamSpec, TypeVar

import torch
from annotated_types import Ge, Le, Lt
from pydantic import AfterValidator, FiniteFloat, StrictBool, StrictInt, StrictStr, TypeAdapter, ValidationError
from pydantic.types import Strict

from motivation.errors import ArgumentError, near_matches, shortened

Count = Annotated[int, Ge(1)]
Seed = Annotated[int, Ge(0)]
Share = Annotated[float, Ge(0), Le(1)]
Momentum = Annotated[float, Ge(0), Lt(1)]


class Written(NamedTuple):
    """How a value is written, for the message about another: ``Annotated[dict[str, Any], Written('dict(a=1)')]``."""

    example: str


Parameters = ParamSpec('Parameters')
Returned = TypeVar('Returned')

_STRICT = {
    bool: StrictBool,
    int: StrictInt,
    float: Annotated[FiniteFloat, Strict()],
    str: StrictStr,
    types.NoneType: None,
}

# What a config gives for an instance of a class.
_INSTANCES = {torch.dtype: "the name of a dtype, such as 'float32'", Path: 'a path'}

# What a value must be, by the type of pydantic's error.
_WORDS = {
    'bool_type': 'True or False',
    'int_type': 'a whole number',
    'float_type': 'a finite number',
    'finite_number': 'a finite number',
    'string_type': 'a string',
    'tuple_type': 'a list',
    'dict_type': 'a dict',
    'literal_error': '{expected}',
    'greater_than_equal': 'at least {ge:,}',
    'greater_than': 'above {gt:,}',
    'less_than_equal': 'at most {le:,}',
    'less_than': 'below {lt:,}',
    'too_short': 'a list that is not empty',
    'value_error': '{error}',
}


def checked(function: Callable[Parameters, Returned]) -> Callable[Parameters, Returned]:
    """Decorate a constructor so that its arguments are checked against its annotations.

    Raises:
        ArgumentError: An argument has the wrong type or is out of bounds.

    Example:
        >>> class Periodic:
        ...     @checked
        ...     def __init__(self, on: Count, off: Count) -> None: ...
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def call(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Returned:
        check_arguments(function, signature.bind(*args, **kwargs).arguments)
        return function(*args, **kwargs)

    return call


def check_arguments(component: Callable[..., Any], arguments: Mapping[str, Any]) -> None:
    """Check arguments against the annotations of a class or function, except arguments that it does not have.

    Raises:
        ArgumentError: An argument has the wrong type or is out of bounds.
    """
    parameters = arguments_of(component)[0]
    for name, value in arguments.items():
        problem = problem_of(value, parameters[name]) if name in parameters else ''
        if problem:
            raise ArgumentError(name, problem)


def build_nested(cls: Callable[..., Returned], argument: str, config: Mapping[str, Any], **given: Any) -> Returned:
    """Build the part of a component that one of its arguments describes.

    Args:
        cls: The class of the part.
        argument: Name of the argument, for messages.
        config: Its value: arguments of the class by name.
        **given: Further arguments of the class, which ``config`` cannot have.

    Raises:
        ArgumentError: A key is not an argument of the class, or a value is invalid.
    """
    check_nested(cls, argument, config, argument if cls.__name__.startswith('_') else cls.__name__, given)
    return cls(**given, **config)


def check_nested(
    component: Callable[..., Any], argument: str, config: Mapping[str, Any], label: str, given: Iterable[str] = ()
) -> None:
    """Check an argument that holds arguments of a class or function.

    Args:
        component: The class or function.
        argument: Name of the argument, for messages.
        config: Its value: arguments of the component by name.
        label: Name of the component, for messages.
        given: Arguments of the component that ``config`` cannot have. Default: none.

    Raises:
        ArgumentError: A key is not an argument of the component, or a value is invalid.
    """
    known = arguments_of(component)[0].keys() - set(given)
    for key in config.keys() - known:
        raise ArgumentError(f'{argument}.{key}', f'is not an argument of {label}; {near_matches(str(key), known)}')
    try:
        check_arguments(component, config)
    except ArgumentError as error:
        raise ArgumentError(f'{argument}.{error.argument}', error.problem) from error


def check_one_of(**values: Any) -> None:
    """Check that exactly one argument is not ``None``.

    Raises:
        ArgumentError: None or several are given.
    """
    if sum(value is not None for value in values.values()) != 1:
        state = ', '.join(f'{name} is {value!r}' for name, value in values.items())
        first = next(iter(values))
        raise ArgumentError(first, f'{state.removeprefix(first).lstrip()}; give exactly one of {", ".join(values)}')


def problem_of(value: Any, argument: inspect.Parameter) -> str:
    """Return what is wrong with the value of an argument, such as ``'must be at least 1, got 0'``, or ``''``.

    Lists are valid as tuples and integers as floats; NaN and infinity are invalid as numbers, and True as an integer.
    Annotations that cannot be checked against a config accept any value.
    """
    if value is argument.default:
        return ''
    try:
        _adapter(argument.annotation).validate_python(value)
    except ValidationError as error:
        none = ['None'] if types.NoneType in typing.get_args(argument.annotation) else []
        # A list whose items are invalid counts as too short as well.
        errors = [one for one in error.errors() if one['type'] != 'too_short'] or error.errors()
        words = ' or '.join(dict.fromkeys([*map(_in_words, errors), *none]))
        choices = re.findall(r"'([^']*)'", words) if isinstance(value, str) else ()
        near = near_matches(value, choices) if choices else ''
        way_out = near if near.startswith('did') else _example(argument.annotation)
        return f'must be {words}, got {shortened(value)}' + (f'; {way_out}' if way_out else '')
    return ''


def _example(annotation: Any) -> str:
    """Return the advice to write what an annotation, or a member of it, gives as an example; ``''`` if none does."""
    inner = typing.get_args(annotation) if typing.get_origin(annotation) is not Literal else ()
    if typing.get_origin(annotation) is Annotated:
        return next((f'write {part.example}' for part in inner if isinstance(part, Written)), '')
    return next(filter(None, map(_example, inner)), '')


def _in_words(error: Any) -> str:
    """Return what one of pydantic's errors requires of a value, or of each item of a list."""
    bounds = {name: int(bound) if bound in (0, 1) else bound for name, bound in error.get('ctx', {}).items()}
    words = _WORDS.get(error['type'], error['msg'].removeprefix('Input should be ')).format_map(bounds)
    return f'a list, each {words}' if any(isinstance(place, int) for place in error['loc']) else words


@functools.cache
def _adapter(annotation: Any) -> TypeAdapter[Any]:
    return TypeAdapter(_for_pydantic(annotation))


def _for_pydantic(annotation: Any) -> Any:
    """Return an annotation for pydantic, strict for scalars and lenient where a config may give something else."""
    kind, inner = typing.get_origin(annotation) or annotation, typing.get_args(annotation)
    if kind in _STRICT:
        return _STRICT[kind]
    if kind is Annotated:
        return functools.reduce(lambda kind, bound: Annotated[kind, bound], inner[1:], _for_pydantic(inner[0]))
    if kind in (typing.Union, types.UnionType):
        return typing.Union[tuple(map(_for_pydantic, inner))]  # noqa: UP007, of members known at run time
    if kind is Literal:
        return annotation
    if not isinstance(kind, type) or kind in (object, Any, inspect.Parameter.empty):
        return Any
    if issubclass(kind, Mapping):
        return Mapping[Any, Any]
    if issubclass(kind, Sequence):
        if inner and _is_plain(inner):
            return tuple[_for_pydantic(inner[0]), ...]  # type: ignore[misc]
        return Annotated[Any, AfterValidator(_check_sequence)]
    return Annotated[Any, AfterValidator(functools.partial(_check_object, kind))]


def _is_plain(members: Sequence[Any]) -> bool:
    return all(
        member is ... or (typing.get_origin(member) or member) in (int, float, str, Annotated) for member in members
    )


def _check_sequence(value: Any) -> Any:
    """Check that a value is a sequence, without accessing its items, which a dataset would decode."""
    if not isinstance(value, Sequence) or isinstance(value, (str, bytes)):
        raise ValueError('a list')
    return value


def _check_object(kind: Any, value: Any) -> Any:
    """Check that a value for a class is not a scalar or list; a dict may build an instance of any class."""
    by_name = kind is Callable or issubclass(kind, os.PathLike)
    scalar = isinstance(value, (bool, int, float, str, bytes, list, tuple, types.NoneType))
    if isinstance(value, kind) or not scalar or (by_name and isinstance(value, str)):
        return value
    if issubclass(kind, enum.Enum):
        raise ValueError(' or '.join(repr(member.value) for member in kind))
    raise ValueError(_INSTANCES.get(kind, f'a {getattr(kind, "__name__", kind)}, or a component: dict(type=...)'))


def arguments_of(component: Any) -> tuple[dict[str, inspect.Parameter], bool]:
    """Return the arguments of a class or function, with resolved annotations.

    A constructor with ``*args, **kwargs`` is assumed to pass them to that of the next base class.

    Returns:
        Parameters by name, and whether any other keyword argument is accepted.
    """
    functions: list[Any] = [component]
    if isinstance(component, type):
        functions = [vars(base)['__init__'] for base in component.__mro__ if '__init__' in vars(base)]
    arguments: dict[str, inspect.Parameter] = {}
    for function in functions:
        parameters = [*_parameters(function)]
        if isinstance(component, type):
            parameters = parameters[1:]  # self
        kinds = {parameter.kind for parameter in parameters}
        for parameter in parameters:
            if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                arguments.setdefault(parameter.name, parameter)
        if not {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD} <= kinds:
            break
    return arguments, inspect.Parameter.VAR_KEYWORD in kinds


def _parameters(function: Any) -> tuple[inspect.Parameter, ...]:
    """Return the parameters of a function, with resolved annotations."""
    try:
        return _known_parameters(function)
    except TypeError:  # a callable without a hash
        return _known_parameters.__wrapped__(function)


@functools.lru_cache(maxsize=4096)  # resolving annotations takes most of the time of building a small component
def _known_parameters(function: Any) -> tuple[inspect.Parameter, ...]:
    parameters = inspect.signature(function).parameters.values()
    return tuple(parameter.replace(annotation=_annotation(function, parameter.name)) for parameter in parameters)


def _annotation(function: Any, name: str) -> Any:
    """Return the annotation of an argument, or ``empty`` if it has none or one that exists for type checkers only."""
    function = inspect.unwrap(function)
    annotations = getattr(function, '__annotations__', {})
    if name not in annotations:
        return inspect.Parameter.empty
    holder = types.SimpleNamespace(__annotations__={name: annotations[name]})
    try:
        return typing.get_type_hints(holder, getattr(function, '__globals__', {}), include_extras=True)[name]
    except Exception:  # an annotation whose names are not imported at run time
        return inspect.Parameter.empty
