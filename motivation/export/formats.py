"""Choosing the formats of an export."""

from collections.abc import Sequence

from motivation.errors import ArgumentError, ConfigError, near_matches
from motivation.export.exporter import Exporter
from motivation.registry import EXPORTERS

Formats = dict[str, type[Exporter]]


# Formats in the order in which one is taken from a folder that holds several; others follow.
PREFERRED = ('timm', 'torch', 'onnx', 'executorch', 'onnx_int8', 'executorch_int8')


def all_formats() -> Formats:
    """Return every registered format by its name, those of :data:`PREFERRED` first."""
    EXPORTERS.import_from_location()
    names = [*PREFERRED, *(name for name in EXPORTERS.module_dict if name not in PREFERRED)]
    return {name: EXPORTERS.module_dict[name] for name in names if name in EXPORTERS.module_dict}


def choose_formats(names: Sequence[str] | None = None, int8: bool = False) -> tuple[Formats, list[str]]:
    """Choose formats, and check that what they need is installed.

    Args:
        names: Their names; ``None`` (default) for all that are not quantised and whose packages are installed.
        int8: Whether to add the quantised form of each that has one. Default: ``False``.

    Returns:
        The formats by name, and a sentence about each that is left out because a package lacks.

    Raises:
        ArgumentError: A name is unknown, or no format has a quantised form.
        ConfigError: A package of a format that was asked for by name lacks.
    """
    known, left_out = all_formats(), []
    quantised = {exporter.int8 for exporter in known.values()}
    asked = list(names) if names is not None else [name for name in known if name not in quantised]
    for name in asked:
        if name not in known:
            raise ArgumentError('formats', f'names {name!r}, which is not a format; {near_matches(name, known)}')
    if int8:
        extra = [known[name].int8 for name in asked if known[name].int8 in known]
        if not extra and not quantised & {*asked}:
            able = (
                ' or '.join(repr(name) for name, exporter in known.items() if exporter.int8 in known) or 'none of them'
            )
            on = ' and '.join(map(repr, asked)) or 'no formats'
            raise ArgumentError('int8', f'has no effect on {on}; {able} can be quantised')
        asked += [name for name in extra if name is not None]
    chosen: Formats = {}
    for name in dict.fromkeys(asked):
        try:
            known[name].require(name)
        except ConfigError as error:
            if names is not None:
                raise
            left_out.append(f'left out: {error}')
        else:
            chosen[name] = known[name]
    return chosen, left_out
