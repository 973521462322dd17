"""Types and bounds of arguments: they stand in the signature, once, and pydantic checks values against them."""

import enum
import functools
import inspect
import os
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, ParamSpec, TypeVar

import torch
from annotated_types import Ge, Gt, Le, Lt
from pydantic import AfterValidator, FiniteFloat, StrictBool, StrictInt, StrictStr, TypeAdapter, ValidationError
from pydantic.types import Strict

from motivation.errors import ArgumentError, near_matches, shortened

# What many arguments are.
Count = Annotated[int, Ge(1)]
Seed = Annotated[int, Ge(0)]
Share = Annotated[float, Ge(0), Le(1)]
Momentum = Annotated[float, Ge(0), Lt(1)]

Parameters = ParamSpec('Parameters')
Returned = TypeVar('Returned')

_WORDS = {
    bool: 'True or False',
    int: 'a whole number',
    float: 'a finite number',
    str: 'a string',
    types.NoneType: 'None',
}
_STRICT = {
    bool: StrictBool,
    int: StrictInt,
    float: Annotated[FiniteFloat, Strict()],
    str: StrictStr,
    types.NoneType: None,
}
_BOUNDS = {Ge: ('ge', 'at least'), Gt: ('gt', 'above'), Le: ('le', 'at most'), Lt: ('lt', 'below')}


def checked(function: Callable[Parameters, Returned]) -> Callable[Parameters, Returned]:
    """Check the arguments of a constructor against its annotations before it runs.

    Raises:
        ArgumentError: An argument has another type, or is out of bounds.

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
    """Check arguments against the annotations of a class or function; those that it does not name pass.

    Raises:
        ArgumentError: Names the argument, what it must be and the value.
    """
    parameters = arguments_of(component)[0]
    for name, value in arguments.items():
        problem = problem_of(value, parameters[name]) if name in parameters else ''
        if problem:
            raise ArgumentError(name, problem)


def check_one_of(**values: Any) -> None:
    """Check that exactly one value is not ``None``.

    Raises:
        ArgumentError: None or several are given.
    """
    if sum(value is not None for value in values.values()) != 1:
        state = ', '.join(f'{name} is {value!r}' for name, value in values.items())
        first = next(iter(values))
        raise ArgumentError(first, f'{state.removeprefix(first).lstrip()}; give exactly one of {", ".join(values)}')


def problem_of(value: Any, argument: inspect.Parameter) -> str:
    """What is wrong with the value of an argument, such as ``'must be at least 1, got 0'``; ``''`` if nothing is."""
    annotation = argument.annotation
    if value is argument.default or fits(value, annotation):
        return ''
    words = _bounds_in_words(annotation) if fits(value, _unbounded(annotation)) else in_words(annotation)
    choices = [choice for choice in _choices(annotation) if isinstance(choice, str)]
    near = near_matches(value, choices) if isinstance(value, str) else ''
    hint = f'; {near}' if near.startswith('did you mean') else ''
    return f'must be {words or "a component: dict(type=...)"}, got {shortened(value)}{hint}'


def fits(value: Any, annotation: Any) -> bool:
    """Whether a value of a config can be meant by an annotation; where in doubt, it can.

    Lists serve as tuples and whole numbers as floats; nan and infinity are no numbers, nor is True a whole one.
    """
    try:
        _adapter(annotation).validate_python(value)
    except (ValidationError, OverflowError):
        return False
    return True


@functools.cache
def _adapter(annotation: Any) -> TypeAdapter[Any]:
    return TypeAdapter(_as_judged(annotation))


def _as_judged(annotation: Any) -> Any:
    """An annotation for pydantic: strict about scalars, lenient where a config may mean more than it says."""
    kind, inner = typing.get_origin(annotation) or annotation, typing.get_args(annotation)
    if kind in _STRICT:
        return _STRICT[kind]
    if kind is Annotated:
        return functools.reduce(lambda judged, bound: Annotated[judged, bound], inner[1:], _as_judged(inner[0]))
    if kind in (typing.Union, types.UnionType):
        return typing.Union[tuple(map(_as_judged, inner))]  # noqa: UP007, of members known at run time
    if kind is Literal:
        return annotation
    if not isinstance(kind, type) or kind in (object, Any, inspect.Parameter.empty):
        return Any
    if issubclass(kind, Mapping):
        return Mapping[Any, Any]
    if issubclass(kind, Sequence):
        if inner and _is_plain(inner):
            return tuple[_as_judged(inner[0]), ...]  # type: ignore[misc]
        return Annotated[Any, AfterValidator(_check_sequence)]
    return Annotated[Any, AfterValidator(functools.partial(_check_object, kind))]


def _is_plain(members: Sequence[Any]) -> bool:
    return all(
        member is ... or (typing.get_origin(member) or member) in (int, float, str, Annotated) for member in members
    )


def _check_sequence(value: Any) -> Any:
    """Refuse what is no sequence without a look at its items, which a dataset decodes."""
    if not isinstance(value, Sequence) or isinstance(value, (str, bytes)):
        raise ValueError('is no list')
    return value


def _check_object(kind: type, value: Any) -> Any:
    """Refuse scalars and lists for other classes; whatever is built from a dict may stand for any of them."""
    by_name = kind is Callable or issubclass(kind, os.PathLike)
    takes_text = by_name and (isinstance(value, str) or callable(value))
    if isinstance(value, kind) or takes_text:
        return value
    if isinstance(value, (bool, int, float, str, bytes, list, tuple, types.NoneType)) or (
        by_name and not isinstance(value, dict)
    ):
        raise ValueError(f'is no {kind.__name__}')
    return value


def in_words(annotation: Any) -> str:
    """What an annotation asks for, such as ``'a whole number of at least 1 or None'``."""
    kind, inner = typing.get_origin(annotation) or annotation, typing.get_args(annotation)
    if kind in _WORDS:
        return _WORDS[kind]
    if kind is Annotated:
        bounds = _bounds_in_words(annotation)
        return f'{in_words(inner[0])} {"of " if bounds.startswith("at") else ""}{bounds}'.strip()
    if kind in (typing.Union, types.UnionType):
        return _any_of(map(in_words, inner))
    if kind is Literal:
        return _any_of(map(repr, inner))
    if not isinstance(kind, type):
        return ''
    if issubclass(kind, enum.Enum):
        return _any_of(repr(member.value) for member in kind)
    if kind is torch.dtype:
        return "the name of a dtype, such as 'float32'"
    if issubclass(kind, Mapping):
        return 'a dict'
    if issubclass(kind, Sequence):
        plural = {int: ' of whole numbers', float: ' of numbers', str: ' of strings'}
        item = inner[0] if inner else None
        bounds = f', each {_bounds_in_words(item)}' if typing.get_origin(item) is Annotated else ''
        return f'a list{plural.get(_unbounded(item), "")}{bounds}'
    return ''


def _any_of(words: Iterable[str]) -> str:
    return ' or '.join(dict.fromkeys(filter(None, words)))


def _bounds_in_words(annotation: Any) -> str:
    """The bounds alone, such as ``'at least 0 and below 1'``; of what has none, all that it asks for."""
    kind, inner = typing.get_origin(annotation) or annotation, typing.get_args(annotation)
    if kind in (typing.Union, types.UnionType):
        return _any_of(map(_bounds_in_words, inner))
    if kind is not Annotated:
        return in_words(annotation)
    known = ((_BOUNDS[type(bound)], bound) for bound in annotation.__metadata__ if type(bound) in _BOUNDS)
    return ' and '.join(f'{words} {getattr(bound, name):,}' for (name, words), bound in known)


def _unbounded(annotation: Any) -> Any:
    """An annotation without the bounds of it or its alternatives."""
    kind, inner = typing.get_origin(annotation) or annotation, typing.get_args(annotation)
    if kind in (typing.Union, types.UnionType):
        return typing.Union[tuple(map(_unbounded, inner))]  # noqa: UP007, of members known at run time
    return inner[0] if kind is Annotated else annotation


def _choices(annotation: Any) -> Sequence[Any]:
    """The values of the ``Literal`` among an annotation's alternatives."""
    kind, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if kind in (typing.Union, types.UnionType):
        return [choice for member in inner for choice in _choices(member)]
    return inner if kind is Literal else ()


def arguments_of(component: Any) -> tuple[dict[str, inspect.Parameter], bool]:
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
    function = inspect.unwrap(function)
    annotations = getattr(function, '__annotations__', {})
    if name not in annotations:
        return inspect.Parameter.empty
    alone = types.SimpleNamespace(__annotations__={name: annotations[name]})
    try:
        return typing.get_type_hints(alone, getattr(function, '__globals__', {}), include_extras=True)[name]
    except Exception:  # a name that is not imported at run time
        return inspect.Parameter.empty
