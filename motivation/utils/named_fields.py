"""The spelling ``NAME:KEY=VALUE,...`` of what a command line names with its fields."""

import ast
import re
from typing import Any


def split_name(text: str) -> tuple[str, str]:
    """Split ``NAME:FIELDS`` at its colon; FIELDS are ``''`` if there are none, and ``::`` is part of the name."""
    name, *rest = re.split('(?<!:):(?!:)', text, maxsplit=1)
    return name, ''.join(rest)


def read_fields(text: str) -> dict[str, Any]:
    """Read ``KEY=VALUE,...``; values are Python literals, true, false, none or strings.

    Raises:
        ValueError: The text has another form.
    """
    fields = {}
    for part in re.split(r',(?=[\w.]+=)', text) if text else []:
        key, equals, value = part.partition('=')
        if not equals or not key:
            raise ValueError(f'{part!r} is not of the form KEY=VALUE')
        fields[key] = _value(value)
    return fields


def _value(text: str) -> Any:
    words = {'true': True, 'false': False, 'none': None}
    if text.lower() in words:
        return words[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
