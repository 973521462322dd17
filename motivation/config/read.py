"""Reading a config file and applying command-line options."""

import ast
import importlib
import sys
import tempfile
import traceback
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from mmengine.config import Config

from motivation import registry as registries
from motivation.config.checks import check_fields
from motivation.config.nodes import nodes
from motivation.config.places import config_file, with_found_bases
from motivation.config.run_text import RunConfig
from motivation.config.schema import known_fields
from motivation.config.written_values import check_written_values
from motivation.errors import ConfigError, near_matches, shortened

# Options whose components share most of their fields, so that another type keeps them.
_SHARING = {'optim_wrapper.type', *(f'{stage}_dataloader.type' for stage in ('train', 'val', 'test'))}


def load_config(path: str, options: dict[str, Any] | None = None) -> Config:
    """Read a config file and apply options to it.

    Args:
        path: A Python config file, or an installed one, see :func:`~motivation.config.places.config_file`.
        options: Values by dotted field name, as from ``--cfg-options``. An option that changes the ``type`` of a
            component drops its other fields, apart from those that options set, and so does a dict with another type.

    Raises:
        ConfigError: The file does not exist or does not parse, or an option or a field is invalid.
    """
    file = config_file(path)
    load_plugins(file.parent)
    try:
        with tempfile.TemporaryDirectory() as folder:
            read = Config.fromfile(with_found_bases(file, Path(folder)), import_custom_modules=False)
        config = RunConfig.of(read, str(file))
    except ConfigError:  # of a base that is not installed
        raise
    except Exception as error:  # a config is a program and may raise anything
        _refuse_absolute_base(file, error)
        raise ConfigError(f'config {path!r} does not parse: {_reason(error)}; correct it') from error
    config.setdefault('runner_type', 'DualModelRunner')
    config.setdefault('default_scope', registries.SCOPE)
    _import_custom_modules(config)
    apply_options(config, path, options or {})
    _import_custom_modules(config)  # those that an option names, too
    check_fields(config._cfg_dict.to_dict())
    check_written_values(config)
    return config


def _refuse_absolute_base(path: Path, error: Exception) -> None:
    """Raise a clear error for an absolute import under ``read_base()``, which MMEngine takes for a package."""
    try:
        blocks = [node for node in ast.walk(ast.parse(path.read_bytes())) if isinstance(node, ast.With)]
    except SyntaxError:
        return
    for block in blocks:
        if 'read_base()' in map(ast.unparse, block.items):
            for line in block.body:
                if isinstance(line, ast.Import) or (isinstance(line, ast.ImportFrom) and line.level == 0):
                    name = line.names[0].name if isinstance(line, ast.Import) else line.module
                    raise ConfigError(
                        f'config {str(path)!r} imports {name!r} under read_base(), by an absolute name; name it from where the '
                        "config stands, as 'from .base import *' for a base.py beside it, or write _base_ = 'base.py'"
                    ) from error


def _import_custom_modules(config: Config) -> None:
    """Import the modules of ``custom_imports``; MMEngine's own function hides why an import failed."""
    custom = config.get('custom_imports') or {}
    if not isinstance(custom, dict) or not isinstance(custom.get('imports') or [], (str, list, tuple)):
        raise ConfigError(f'custom_imports is {shortened(custom)}; write dict(imports=[...]) with names of modules')
    names = custom.get('imports') or []
    for name in [names] if isinstance(names, str) else names:
        try:
            importlib.import_module(name)
        except Exception as error:  # a plugin may raise any exception
            if isinstance(error, ImportError) and custom.get('allow_failed_imports', False):
                continue
            place = traceback.extract_tb(error.__traceback__)[-1]
            where = '' if place.filename.startswith('<') else f' ({Path(place.filename).name}, line {place.lineno})'
            raise ConfigError(
                f'custom_imports.imports names {name!r}, which does not import: {_reason(error)}{where}; correct it, '
                'or put it beside the config, in the current folder or among the installed packages'
            ) from error


def apply_options(config: Config, path: str, options: dict[str, Any]) -> None:
    """Override fields of a config in place.

    Args:
        config: The config.
        path: Path of its file, for messages.
        options: See :func:`load_config`.

    Raises:
        ConfigError: An option names an unknown field, or cannot be applied.
    """
    known = {*config, *known_fields()}
    for option in options:
        if option.split('.')[0] not in known:
            plain = config._cfg_dict.to_dict()
            fields = {*known_fields(), *(field for field, _ in nodes(plain) if field.split('.')[0] in known_fields())}
            raise ConfigError(f'--cfg-options {option} is not a field of {path!r}; {near_matches(option, fields)}')
        _check_effect(config, option)
        value = options[option]
        if option.endswith('.type') and option not in _SHARING:
            _clear_other_type(config, option.split('.')[:-1], value)
        elif isinstance(value, dict) and 'type' in value and f'{option}.type' not in _SHARING:
            _clear_other_type(config, option.split('.'), value['type'])
        _make_way(config, option.split('.'), value)
    try:
        config.merge_from_dict(options)
    except Exception as error:
        raise ConfigError(f'--cfg-options {options} do not apply to {path!r}: {error}') from error


def _check_effect(config: Config, option: str) -> None:
    """Check that an option does not set a helper variable, which was read when the file was: fields keep its value."""
    variable, plain, known = option.partition('.')[0], config._cfg_dict.to_dict(), known_fields()
    if variable in known:
        return
    value = plain[variable]
    fields = [
        field
        for field, other in nodes(plain)
        if field.partition('.')[0] in known and type(other) is type(value) and other == value
    ]
    if isinstance(value, bool) or value is None or not fields:  # too common to say where it went
        those = 'such as train_cfg.max_epochs'
    else:
        more = f' and {len(fields) - 6} more' if len(fields) > 6 else ''
        those = f'of which these have its value, {shortened(value)}: {", ".join(fields[:6])}{more}'
    raise ConfigError(
        f'--cfg-options {option} would change nothing: {variable!r} is a helper variable of the config, whose value was '
        f'used when the file was read; edit the file, or override the fields themselves, {those}'
    )


def _make_way(config: Config, path: list[str], value: Any) -> None:
    """Put an empty dict where a field is ``None`` and an option gives fields of it: MMEngine merges dicts only."""
    node = config._cfg_dict
    for place, key in enumerate(path, 1):
        if not isinstance(node, dict) or key not in node:
            return
        if node[key] is None and (place < len(path) or isinstance(value, dict)):
            node[key] = {}
        node = node[key]


def _clear_other_type(config: Config, path: list[str], component: Any) -> None:
    """Drop the fields of the component at a path, if its type is another than the given one."""
    node = config._cfg_dict
    for key in path:
        try:
            node = node[int(key)] if isinstance(node, list) else node[key]
        except (KeyError, IndexError, ValueError):
            return
    if isinstance(node, dict) and node.get('type') != component:
        node.clear()


def load_plugins(folder: Path) -> None:
    """Import the installed plugins (entry points ``motivation.plugins``) and make local modules importable.

    Args:
        folder: Folder of the config; modules are found in it and in the current folder, after installed packages.
    """
    for place in (str(folder.resolve()), str(Path.cwd())):
        if place not in sys.path:
            sys.path.append(place)
    for plugin in entry_points(group='motivation.plugins'):
        plugin.load()


def _reason(error: Exception) -> str:
    """Return an error in a config file as one line, without the name of MMEngine's temporary copy."""
    message = f'{error.msg} (line {error.lineno})' if isinstance(error, SyntaxError) else ' '.join(str(error).split())
    return f'{type(error).__name__}: {message}'
