"""Where configs are: files, and those that an installed package brings, ``<package>::<folder>/<name>.py``."""

import ast
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

from motivation.errors import ConfigError, near_matches

# A package has its configs in this folder, by OpenMMLab's convention.
_INSTALLED = Path('.mim/configs')

MARK = '::'


def config_file(name: str) -> Path:
    """Return the path of a config.

    Args:
        name: A path, or ``'motivation::digits/resnet8_resnet20_consecutive.py'`` for a config that is installed with a
            package, in its folder ``.mim/configs``, or in the folder ``configs`` of its checkout.

    Raises:
        ConfigError: The package is not installed, or there is no such file.
    """
    if MARK not in name:
        if not Path(name).is_file():
            siblings = [str(sibling) for sibling in Path(name).parent.glob('*.py')]
            raise ConfigError(f'config {name!r} does not exist; {near_matches(name, siblings)}')
        return Path(name)
    package, _, rest = name.partition(MARK)
    folder = _configs_of(package)
    if folder is None:
        raise ConfigError(f'config {name!r} is of the package {package!r}, which is not installed with configs')
    if not (folder / rest).is_file():
        names = [f'{package}{MARK}{path.relative_to(folder).as_posix()}' for path in sorted(folder.rglob('*.py'))]
        own = [known for known in names if '/_base_/' not in known and f'{MARK}_base_/' not in known]
        raise ConfigError(f'config {name!r} does not exist; {near_matches(name, names if "_base_" in rest else own)}')
    return folder / rest


def _configs_of(package: str) -> Path | None:
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    for place in (spec.submodule_search_locations or ()) if spec else ():
        for folder in (Path(place) / _INSTALLED, Path(place).parent / 'configs'):
            if folder.is_dir():
                return folder
    return None


def with_found_bases(path: Path, folder: Path) -> Path:
    """Return a config file whose bases MMEngine can find: the file itself, or a copy of it.

    MMEngine 0.10.7 looks up ``_base_ = 'motivation::...'`` through ``pkg_resources``, which setuptools no longer has,
    and for packages of OpenMMLab only. The copy names these bases by their paths; its lines are those of the file.

    Args:
        path: A config file.
        folder: Folder of the copies.

    Raises:
        ConfigError: There is no such base.
    """
    if path.suffix != '.py':
        return path
    text = path.read_text(encoding='utf-8')
    lines, replaced = text.splitlines(keepends=True), False
    for node, base in sorted(_bases(text), key=lambda found: (found[0].lineno, found[0].col_offset), reverse=True):
        found = config_file(base) if MARK in base else path.parent / base
        if not found.is_file():
            return path  # MMEngine reports it
        own = with_found_bases(found, folder)
        replaced = replaced or MARK in base or own != found
        first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
        before = lines[first].encode()[: node.col_offset].decode()
        after = lines[last].encode()[node.end_col_offset :].decode()
        lines[first : last + 1] = [f'{before}{str(own.resolve())!r}{after}', *['\n'] * (last - first)]
    if not replaced:
        return path
    name = f'{len(list(folder.iterdir()))}_{path.name}'
    (folder / name).write_text(_with_names_of_file(''.join(lines), path), encoding='utf-8')
    return folder / name


def _with_names_of_file(text: str, path: Path) -> str:
    """Replace MMEngine's predefined variables, which a copy would give its own values."""
    values = {
        'fileDirname': path.resolve().parent, 'fileBasename': path.name, 'fileBasenameNoExtension': path.stem,
        'fileExtname': path.suffix,
    }  # fmt: skip
    for name, value in values.items():
        text = re.sub(rf'\{{\{{\s*{name}\s*\}}\}}', str(value).replace('\\', '/'), text)
    return text


def _bases(text: str) -> Iterator[tuple[ast.Constant, str]]:
    """Yield the strings of ``_base_ = ...`` in a config; none of a file that does not parse, which MMEngine reports."""
    try:
        body = ast.parse(text).body
    except SyntaxError:
        return
    for statement in body:
        if isinstance(statement, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == '_base_' for target in statement.targets
        ):
            for node in ast.walk(statement.value):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node, node.value
