"""Sweeps: an arm for every combination of values of config fields."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import product
from typing import Any

from mmengine.config import Config

from motivation.comparison.arms import plan_arms
from motivation.config.nodes import nodes
from motivation.config.schema import known_fields
from motivation.errors import ArgumentError, ConfigError, near_matches, shortened
from motivation.utils.named_fields import read_fields

# Arms of the largest grid: more are a mistake in a list rather than a plan.
_MOST = 10_000

_BRACKETS = {'(': ')', '[': ']', '{': '}'}


def expand_sweep(sweep: Mapping[str, Sequence[Any]] | Sequence[str], arms: Sequence[str], config: Config) -> list[str]:
    """Return the text of the arm of every combination, such as ``'config:motivation.policy.drops=1,max_epochs=5'``.

    Args:
        sweep: The values of each field, or ``FIELD=V1,V2,...`` for each as on the command line. A field is one of the
            config or ``max_epochs``, the number of epochs to which an arm's schedule is scaled.
        arms: Texts of the other arms.
        config: Config that the arms share.

    Raises:
        ArgumentError: A field is unknown, given twice or not one of an arm, has no values or the same twice, an arm is
            given elsewhere too, or the grid has more than 10,000 arms.
    """
    fields = sweep if isinstance(sweep, Mapping) else _read(sweep)
    texts = {field: _texts(field, values, config) for field, values in fields.items()}
    for field in fields:
        for other in fields:
            if other.startswith(f'{field}.'):
                raise ArgumentError('sweep', f'has {field!r} and {other!r}, a part of it; give one of them')
    if math.prod(map(len, texts.values())) > _MOST:
        sizes = ' x '.join(f'{len(values):,}' for values in texts.values())
        raise ArgumentError('sweep', f'is a grid of {sizes} arms, more than {_MOST:,}; give fewer values')
    pairs = ([f'{field}={text}' for text in values] for field, values in texts.items())
    swept = [f'config:{",".join(combination)}' for combination in product(*pairs) if combination]
    for text in sorted({*swept} & {*arms}):
        raise ArgumentError('sweep', f'makes the arm {text!r}, which is also given as an arm; leave it out there')
    if swept:
        try:
            plan_arms(swept, config)
        except ArgumentError as error:
            raise ArgumentError('sweep', error.problem) from error
    return swept


@contextmanager
def refused_as_sweep(label: str) -> Iterator[None]:
    """Say of what is wrong with an arm that a sweep made it.

    Args:
        label: Text of the arm.

    Raises:
        ArgumentError: The arm is refused.
    """
    try:
        yield
    except ConfigError as error:
        way_out = ''
        if '.type=' in label:
            way_out = (
                "; a component that varies with fields of its own is one field: motivation.policy={'type': ...},..."
            )
        raise ArgumentError('sweep', f'makes the arm {label!r}, which is refused: {error}{way_out}') from error


def _read(texts: Sequence[str]) -> dict[str, list[Any]]:
    """Read ``FIELD=V1,V2,...`` of each field, with the values as texts."""
    fields: dict[str, list[Any]] = {}
    for text in texts:
        field, equals, values = text.partition('=')
        if not equals or not field:
            raise ArgumentError('sweep', f'{text!r} is not of the form FIELD=V1,V2,...')
        if field in fields:
            raise ArgumentError('sweep', f'has {field!r} twice; give all its values at once')
        fields[field] = [_read_value(field, value) for value in split_values(values)]
    return fields


def _read_value(field: str, text: str) -> Any:
    if not text:
        raise ArgumentError('sweep', f"has an empty value of {field!r}; write '' for an empty text")
    read = read_fields(f'{field}={text}')
    if read.keys() != {field}:
        raise _inexpressible(field, text)
    return read[field]


def split_values(text: str) -> list[str]:
    """Split a text at its commas, but for those in brackets or quotes: ``"[1,2],'a,b'"`` is two values."""
    values, closing, quote = [''] if text else [], list[str](), ''
    for letter in text:
        if quote:
            quote = '' if letter == quote else quote
        elif letter in '\'"' and (not values[-1] or closing):  # an apostrophe within a word is none
            quote = letter
        elif letter in _BRACKETS:
            closing.append(_BRACKETS[letter])
        elif closing and letter == closing[-1]:
            closing.pop()
        elif letter == ',' and not closing:
            values.append('')
            continue
        values[-1] += letter
    return values


def _texts(field: str, values: Sequence[Any], config: Config) -> list[str]:
    """Return the values of a field as they stand in the text of an arm."""
    if field != 'max_epochs' and '.' not in field and field not in known_fields():
        known = {'max_epochs', *known_fields(), *(name for name, _ in nodes(config._cfg_dict.to_dict()))}
        own = [name for name in sorted(known) if name.endswith(f'.{field}')]
        hint = f'did you mean {" or ".join(map(repr, own[:3]))}?' if own else near_matches(field, known)
        raise ArgumentError('sweep', f'has {field!r}, which is not a field of the config; {hint}')
    if isinstance(values, str) or not isinstance(values, Sequence) or not values:
        raise ArgumentError('sweep', f'gives {field!r} {shortened(values)}; give a list of its values')
    texts = [_text(field, value) for value in values]
    for text in texts:
        if texts.count(text) > 1:
            raise ArgumentError('sweep', f'gives {field!r} the value {text} twice; give it once')
    return texts


def _text(field: str, value: Any) -> str:
    for text in (value, repr(value)):
        if isinstance(text, str) and text:
            read = read_fields(f'{field}={text}')
            if read.keys() == {field} and repr(read[field]) == repr(value):
                return text
    raise _inexpressible(field, value)


def _inexpressible(field: str, value: Any) -> ArgumentError:
    problem = f'gives {field!r} {shortened(value)}, which the text of an arm cannot express; give literals of Python'
    return ArgumentError('sweep', problem)
