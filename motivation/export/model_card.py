"""Writing the card of an exported model."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from motivation.errors import ConfigError, one_line
from motivation.export.deployable import Deployable
from motivation.export.finished_run import FinishedRun
from motivation.export.formats import all_formats
from motivation.export.origin import PARITY
from motivation.models.exported_file import OWN_SETTINGS, WEIGHTS, read_settings
from motivation.report.markdown import markdown_table
from motivation.report.structure import RunReport
from motivation.report.table import DEFINITION, model_label, model_rows, run_facts
from motivation.structures import MODEL_NAMES
from motivation.utils.files import write_whole

CARD = 'README.md'

# Names shown of more classes than that; description.json has all.
_MOST_CLASSES = 100

_METHOD = (
    'One run trained two models, of which the larger, the *motivated* model, contains the *base* model: the base model is '
    'trained on every batch, and the motivated model only while a condition on training holds (Acheli and Gaaloul, '
    '"Motivation is Something You Need", arXiv 2602.21064).'
)

_BY_PACKAGE = """\
from motivation.export.exported_model import load_exported

model = load_exported('.')
logits = model(images)  # tensors
"""

_LABELS = 'labels = logits > 0  # each class by itself: its probability, sigmoid(logit), is above the threshold 0.5'


def write_card(folder: Path, name: str, run: FinishedRun, deployable: Deployable) -> None:
    """Write ``README.md``, the model card in the form of the Hugging Face hub, beside the files of an exported model.

    Args:
        folder: Folder of the files, whose ``<file>.parity.json`` are read where they are there.
        name: ``'base'``, ``'motivated'``, ``'base_ema'``, ``'best_base'``, ...
        run: The run, with or without a report.
        deployable: The model.

    Raises:
        ConfigError: A report or ``config.json`` is damaged.
        OSError: The card cannot be written.
    """
    report = None if run.report is None else RunReport.from_json(run.report)
    parity = _read_parity(folder)
    lines = [
        *_header(folder),
        *_what_it_is(folder, name, run, deployable),
        *_images(folder, deployable.metainfo),
        *_loading(folder, deployable.metainfo, parity),
        *_files(folder, parity, deployable.metainfo),
        *_training(run, report),
        *_license(),
    ]
    write_whole(folder / CARD, lambda file: file.write('\n'.join(lines).encode()))


def _header(folder: Path) -> list[str]:
    """Return the YAML that the hub reads."""
    formats = [name for name, exporter in all_formats().items() if (folder / exporter.file).exists()]
    library = ['library_name: timm'] if needed_to_load(folder) == '' else []
    tags = ['image-classification', 'motivation', *dict.fromkeys(name.removesuffix('_int8') for name in formats)]
    return ['---', '# license: ', *library, 'pipeline_tag: image-classification', 'tags:', *_list(tags), '---', '']


def needed_to_load(folder: Path) -> str | None:
    """Return what a folder in timm's layout needs to be loaded by timm.

    Returns:
        ``''`` if timm has the network; the module to import first if that registers it with timm; ``None`` if timm cannot
        build it, or the folder has not this layout.

    Raises:
        ConfigError: ``config.json`` is damaged.
    """
    if not (folder / WEIGHTS).exists():
        return None
    own = read_settings(folder)[OWN_SETTINGS]
    return None if own['config'].get('stem') else own['registered_by'] or ''


def _what_it_is(folder: Path, name: str, run: FinishedRun, deployable: Deployable) -> list[str]:
    model: Any = deployable.model
    role = 'base' if 'base' in name.split('_') else 'motivated'
    weights = [
        *(['of its best validation'] if name.startswith('best_') else []),
        *(['averaged over training (EMA)'] if name.endswith('_ema') else []),
    ]
    needed = needed_to_load(folder)
    notes = []
    if needed is None and (folder / WEIGHTS).exists():
        notes = [
            f"**timm alone cannot rebuild this network** (`stem='{model.stem}'` changed its first layer): load it with the "
            'package `motivation`, or take another format of this folder, see below.',
            '',
        ]
    elif needed:
        notes = [f'**timm alone does not have this network**: `import {needed}` first, which registers it.', '']
    config = run.config.model
    networks = ', '.join(f'{each}: {_code(_network(config[each]))}' for each in MODEL_NAMES)
    labels = ', any number of which an image may have,' if _has_several_labels(deployable.metainfo) else ''
    parameters = sum(parameter.numel() for parameter in model.parameters())
    classes = deployable.classes
    number = len(classes) if classes else getattr(model, 'num_classes', None)
    return [
        f'# {model_label(model)}, the {role} model of a pair',
        '',
        *notes,
        f'An image classifier{f" of {number} classes" if number else ""}{labels} with {parameters:,} parameters'
        + (f', with the weights {" and ".join(weights)}.' if weights else '.'),
        '',
        f'{_METHOD} This is the {role} model. {networks}; weight map: {_code(_component(config.get("weight_map"), "AutoMap"))}.',
        '',
    ]


def _images(folder: Path, metainfo: Mapping[str, Any]) -> list[str]:
    """Return the sections about classes and preprocessing."""
    names = list(metainfo.get('classes') or ())
    shown = ', '.join(_code(one_line(name, 60)) for name in names[:_MOST_CLASSES])
    more = f' and {len(names) - _MOST_CLASSES:,} more, in `description.json`' if len(names) > _MOST_CLASSES else ''
    classes = f'In the order of the logits: {shown}{more}.' if names else 'Their names are not known.'
    transforms = ', '.join(_code(_component(step)) for step in metainfo.get('transforms') or ())
    facts = [
        f'images: {_shape(metainfo)}, mode `{_mode(metainfo)}`',
        f'transforms before: {transforms or "none; the images have that size"}',
        f'normalised, on the scale 0 to 1, by mean {_rounded(metainfo.get("mean"))} and standard deviation {_rounded(metainfo.get("std"))}',
    ]
    if (folder / WEIGHTS).exists() and not read_settings(folder)[OWN_SETTINGS]['preprocessing_is_exact']:
        facts.append("timm's transform cannot do the same: the crop in `config.json` is the network's own")
    return ['## Classes', '', classes, '', '## Preprocessing', '', *_list(facts), '']


def _loading(folder: Path, metainfo: Mapping[str, Any], parity: Mapping[str, dict[str, Any]]) -> list[str]:
    """Return the section with the lines that load each file."""
    lines = ['## Load it', '']
    labels = f'\n{_LABELS}' if _has_several_labels(metainfo) else ''
    floats = {exporter.int8: exporter for exporter in all_formats().values() if exporter.int8}
    for name, exporter in all_formats().items():
        if not (folder / exporter.file).exists():
            continue
        code = exporter.loading or getattr(floats.get(name), 'loading', None)
        kinds = {'uint8': 'uint8, 0 to 255', 'normalised': 'normalised float32'}
        takes = kinds.get(parity.get(exporter.file, {}).get('input', ''), 'see `description.json`')
        if exporter.file == WEIGHTS:
            needed = needed_to_load(folder)
            code = _BY_PACKAGE if needed is None else (f'import {needed}\n' if needed else '') + str(code)
            takes = kinds['normalised']
        lines += [f'`{exporter.file}`; images: ({exporter.largest_batch or "N"}, {_shape(metainfo)}), {takes}', '']
        if code is None:
            lines += [f'Runs with `load` of `motivation/export/runtimes/{exporter.runtime.name}`.', '']
        else:
            lines += [
                '```python',
                code.replace('{file}', exporter.file).replace('{mode}', _mode(metainfo)).rstrip() + labels,
                '```',
                '',
            ]
    return lines


def _files(folder: Path, parity: Mapping[str, dict[str, Any]], metainfo: Mapping[str, Any]) -> list[str]:
    """Return the table of what each file does beside PyTorch."""
    kept = {file: facts for file, facts in parity.items() if (folder / file).exists()}
    if not kept:
        return []
    some = next(iter(kept.values()))
    macs = f'{some["macs"] / 1e6:,.3f} MMACs an image. ' if some.get('macs') else ''
    batch = max(each.get('batch_size') or 1 for each in kept.values())
    right = 'exact match' if _has_several_labels(metainfo) else 'top-1'
    columns = {
        'file': [f'`{file}`{" (int8)" if each.get("int8") else ""}' for file, each in kept.items()],
        'takes': [str(each.get('input', '-')) for each in kept.values()],
        'validation images': _numbers(kept, 'images', ',.0f'),
        'KiB': _numbers(kept, 'bytes', ',.0f', 1 / 2**10),
        'largest difference': _numbers(kept, 'largest_difference', '.1e'),
        f'same {right} %': _numbers(kept, 'equal_top1', '.2f', 100),
        f'{right} %': _numbers(kept, 'accuracy_top1', '.2f'),
        'in PyTorch %': _numbers(kept, 'pytorch_accuracy_top1', '.2f'),
        'batch 1, ms': _numbers(kept, 'latency_ms_batch_1', ',.2f'),
        f'batch {batch}, ms': _numbers(
            {file: each if each.get('batch_size') == batch else {} for file, each in kept.items()},
            'latency_ms_batch',
            ',.2f',
        ),
        'memory, MiB': _numbers(kept, 'peak_memory_bytes', ',.0f', 1 / 2**20),
    }
    return [
        '## The files beside PyTorch',
        '',
        f'{macs}Largest difference of a logit, over the largest logit; times in one thread of the machine that exported them.',
        '',
        markdown_table(list(columns), zip(*columns.values(), strict=True)),
        '',
    ]


def _training(run: FinishedRun, report: RunReport | None) -> list[str]:
    """Return the sections about training and results."""
    config = run.config
    loader = config.get('train_dataloader') or {}
    seed = (config.get('randomness') or {}).get('seed', 0)
    facts = [
        f'config: {_code(Path(config.filename).name)}' if config.filename else 'config: not known',
        f'data: {_code(_component(loader.get("dataset")))}, batches of {loader.get("batch_size", "unknown size")}',
        f'optimizer: {_code(_component((config.get("optim_wrapper") or {}).get("optimizer")))}',
    ]
    if run.checkpoint is not None:
        epochs = (config.get('train_cfg') or {}).get('max_epochs', 'unknown number')
        facts.insert(0, f'checkpoint: `{run.checkpoint.name}`, of a training of {epochs} epochs')
    if report is None:
        facts += [f'policy: {_code(_component((config.get("motivation") or {}).get("policy")))}', f'seed: {seed}']
        results = [f'There is no report of {"the run" if run.checkpoint is None else "this checkpoint"}.', '']
    else:
        facts += [f'{label}: {value}' for label, value in run_facts(report)]
        table = markdown_table(['', *MODEL_NAMES], model_rows(report))
        results = [table, '', f'Of the last validation. {DEFINITION}', '']
    return ['## Training', '', *_list(facts), '', '## Results of both models', '', *results]


def _license() -> list[str]:
    return [
        '## License',
        '',
        'Not stated. Whoever publishes this model fills in the field `license` at the top of this file.',
        '',
    ]


def _read_parity(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the parity report of each file, by the name of the file."""
    found = {}
    for path in sorted(folder.glob(f'*{PARITY}')):
        try:
            found[path.name.removesuffix(PARITY)] = dict(json.loads(path.read_bytes()))
        except (ValueError, TypeError, RecursionError) as error:
            raise ConfigError(f"'{path}' is damaged; export the model again") from error
    return found


def _numbers(parity: Mapping[str, dict[str, Any]], name: str, form: str, unit: float = 1) -> list[str]:
    values = [facts.get(name) for facts in parity.values()]
    return ['-' if value is None else format(value * unit, form) for value in values]


def _network(config: Mapping[str, Any]) -> str:
    return str(config.get('model_name') or config.get('type'))


def _component(config: Any, default: str = 'unknown') -> str:
    """Return a component's config as a call, without the folders in which its user keeps data."""
    if isinstance(config, Mapping):
        arguments = (f'{name}={_component(value)}' for name, value in config.items() if name != 'type')
        return one_line(f'{config.get("type", default)}({", ".join(arguments)})', 400)
    if isinstance(config, (list, tuple)):
        return f'[{", ".join(map(_component, config))}]'
    if isinstance(config, str) and Path(config).is_absolute():
        return repr(Path(config).name)
    return default if config is None else repr(config)


def _code(text: str) -> str:
    """Return a code span of Markdown, whose fence is longer than any backticks in the text (CommonMark 0.31, 6.1)."""
    fence = '`' * (1 + max(map(len, re.findall('`+', text)), default=0))
    space = ' ' if len(fence) > 1 or not text else ''
    return f'{fence}{space}{text}{space}{fence}'


def _has_several_labels(metainfo: Mapping[str, Any]) -> bool:
    return metainfo.get('outputs') == 'sigmoid'


def _mode(metainfo: Mapping[str, Any]) -> str:
    return metainfo.get('image_mode') or ('L' if (metainfo.get('input_size') or [3])[0] == 1 else 'RGB')


def _rounded(values: Sequence[float] | None) -> str:
    return ', '.join(f'{value:.4g}' for value in values or ())


def _shape(metainfo: Mapping[str, Any]) -> str:
    return ', '.join(map(str, metainfo.get('input_size') or 'CHW'))


def _list(items: Iterable[str]) -> list[str]:
    return [f'- {item}' for item in items]
