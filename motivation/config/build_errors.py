"""What a component's own constructor refuses, said with the field it was built from."""

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from mmengine.registry import build_functions

from motivation.config.signatures import arguments_of
from motivation.errors import DISK_ERRORS, ConfigError, one_line, shortened

# The field that a method of MMEngine's runner builds from.
_FIELD_OF = {
    'setup_env': 'env_cfg',
    'set_randomness': 'randomness',
    '_check_scheduler_cfg': 'param_scheduler',
    'build_log_processor': 'log_processor',
    'build_logger': 'log_level',
    'build_visualizer': 'visualizer',
    'add_config': 'visualizer',  # whose backends open when they are first used
    'build_model': 'model',
    'register_default_hooks': 'default_hooks',
    'register_custom_hooks': 'custom_hooks',
    'build_train_loop': 'train_cfg',
    'build_val_loop': 'val_cfg',
    'build_test_loop': 'test_cfg',
    'build_dataloader': '{stage}_dataloader',
    'build_evaluator': '{stage}_evaluator',
    'scale_lr': 'auto_scale_lr',
    'build_optim_wrapper': 'optim_wrapper',
    'build_param_scheduler': 'param_scheduler',
}
_STACK = {'mmengine', 'numpy', 'PIL', 'sklearn', 'timm', 'torch', 'torchvision', 'motivation', *sys.stdlib_module_names}


@contextmanager
def explained(
    config: dict[str, Any], field: str = '', fault: str = 'cannot be built', subject: str = 'the config'
) -> Iterator[None]:
    """Say of whatever stops the building of a config which field it was built from.

    Args:
        config: What is built, as a plain dict.
        field: The field to name, if no deeper one is found.
        fault: What is said of it.
        subject: What to name where no field is.

    Raises:
        ConfigError: Names the deepest field known, its value, the reason, and file and line of a plugin.
    """
    try:
        yield
    except ConfigError:
        raise
    except Exception as error:  # a component raises whatever it likes
        if isinstance(error, OSError) and error.errno in DISK_ERRORS:
            raise
        frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
        deepest, component = _field(frames, config)
        field = deepest or field
        subject = f'{field} = {shortened(_value(config, field))}' if field else subject
        way_out = f'mend it{_arguments(component)}'
        raise ConfigError(f'{subject} {fault}: {reason(error)}; {way_out}') from error


def reason(error: Exception) -> str:
    """One line about an error, with the file and line of a plugin that raised it."""
    message = one_line(str(error), 240)
    place = ''
    for frame, line in traceback.walk_tb(error.__traceback__):
        if frame.f_globals.get('__name__', '').partition('.')[0] not in _STACK:
            place = f' ({Path(frame.f_code.co_filename).name}, line {line})'
    return f'{type(error).__name__}: {message}{place}' if message else f'{type(error).__name__}{place}'


def _field(frames: list[FrameType], config: dict[str, Any]) -> tuple[str, Any]:
    """The deepest field that these frames were building, and the component it names."""
    field, built, component = '', None, None
    for frame in frames:
        name = _FIELD_OF.get(frame.f_code.co_name)
        if name is not None:
            field = name.format(stage=field.partition('_')[0])
            built = component = None  # of the field around it
        if frame.f_globals is vars(build_functions) and isinstance(frame.f_locals.get('cfg'), dict):
            built = frame.f_locals['cfg']
            component = frame.f_locals.get('obj_cls', frame.f_locals.get('scheduler_cls'))
    if built is None:
        return (field, None) if field in config else ('', None)
    paths = list(_matches(config, built))
    below = [path for path in paths if not field or path.split('.')[0] in (field, 'motivation')]
    below = below or paths  # a loop builds its dataset, which stands under another field
    return max(below, key=lambda path: len(path.split('.')), default=field if field in config else ''), component


def _matches(node: Any, built: dict[str, Any], path: str = '') -> Iterator[str]:
    """Paths of all dicts whose fields all went into what was built."""
    if isinstance(node, dict) and node and path:
        missing = object()
        if all(built.get(key, missing) is value or built.get(key, missing) == value for key, value in node.items()):
            yield path
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, (list, tuple)) else ()
    for key, child in children:
        yield from _matches(child, built, f'{path}.{key}' if path else str(key))


def _value(config: Any, path: str) -> Any:
    for key in path.split('.'):
        config = config[key] if isinstance(config, dict) else config[int(key)]
    return config


def _arguments(component: Any) -> str:
    if component is None:
        return ''
    names = ', '.join(arguments_of(component)[0])
    return f'; {component.__name__} takes {names}' if names and len(names) <= 160 else ''
