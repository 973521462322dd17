"""What two models cost, as data and as tables, before anything is trained."""

from collections.abc import Mapping
from typing import Any

from mmengine.model import BaseModel
from rich.table import Table
from torch import Tensor

from motivation.analysis.macs import measure_model, training_batches
from motivation.analysis.report import count_parameters, model_label
from motivation.analysis.step_macs import detail_train_step
from motivation.models import MODEL_NAMES
from motivation.training_mode import training_mode
from motivation.weight_maps import ModelName

# Shares of motivated batches for which a planned run is priced.
RATES = (0.0, 1 / 24, 0.1, 1 / 6, 0.25, 0.5, 0.75, 1.0)


def describe_pair(models: Mapping[ModelName, BaseModel], sample: dict[str, Tensor], images: int) -> dict[str, Any]:
    """Everything that ``tools/get_flops.py`` says.

    Args:
        models: ``'base'`` and ``'motivated'``; left untouched.
        sample: One image as the dataset returns it, collated.
        images: Images of the planned run: those of an epoch times the epochs.

    Returns:
        ``input``, the shape of an image; for each model its costs; ``planned``, training FLOPs and
        saving at several shares of motivated batches; ``largest_saving``, that of a run that never
        wakes the motivated model.
    """
    macs = {name: measure_model(models[name], sample) for name in MODEL_NAMES}
    per_image = {name: macs[name].train_flops(1, 1) for name in MODEL_NAMES}
    pair: dict[str, Any] = {'input': list(sample['inputs'].shape[1:])}
    for name, model in models.items():
        pair[name] = {
            'model': model_label(model),
            'params': count_parameters(model),
            'forward_macs_per_image': macs[name].network.per_image,
            'backward_macs_per_image': macs[name].backward.per_image,
            'inference_macs_per_image': macs[name].inference.per_image,
            'fixed_macs_per_step': macs[name].forward.per_batch + macs[name].backward.per_batch,
            **_detail(model, sample),
        }
    pair['images'] = images
    pair['planned'] = [
        {
            'motivated_fraction': rate,
            'train_flops': round(images * ((1 - rate) * per_image['base'] + rate * per_image['motivated'])),
            'saving': per_image['motivated'] / ((1 - rate) * per_image['base'] + rate * per_image['motivated']),
        }
        for rate in RATES
    ]
    pair['largest_saving'] = per_image['motivated'] / per_image['base']
    return pair


def _detail(model: BaseModel, sample: dict[str, Tensor]) -> dict[str, dict[str, list[int]]]:
    """Forward and backward MACs of one image by stage and by operator."""
    with training_mode(model):
        two, four = (detail_train_step(model, batch) for batch in training_batches(model, sample))
    return {
        part: {
            name: [(b - a) // 2 for a, b in zip(two[part][name], four[part][name], strict=True)] for name in two[part]
        }
        for part in two
    }


def pair_tables(pair: dict[str, Any], detail: bool) -> list[Table]:
    """The tables of a terminal: both models, with ``detail`` their parts, and planned runs."""
    models = Table('', *MODEL_NAMES, title=f'input {" x ".join(map(str, pair["input"]))}', title_justify='left')
    rows = [
        ('model', *(pair[name]['model'] for name in MODEL_NAMES)),
        ('parameters', *(f'{pair[name]["params"]:,}' for name in MODEL_NAMES)),
        ('forward MMACs an image', *(f'{pair[name]["forward_macs_per_image"] / 1e6:,.3f}' for name in MODEL_NAMES)),
        ('backward MMACs an image', *(f'{pair[name]["backward_macs_per_image"] / 1e6:,.3f}' for name in MODEL_NAMES)),
    ]
    for row in rows:
        models.add_row(*row)
    parts = [_part_table(pair, part) for part in ('stages', 'operators')] if detail else []
    planned = Table(
        'motivated batches',
        'training FLOPs',
        'saving',
        title=f'a run of {pair["images"]:,} images',
        title_justify='left',
    )
    for row in pair['planned']:
        planned.add_row(f'{row["motivated_fraction"]:.1%}', f'{row["train_flops"]:.4g}', f'{row["saving"]:.2f} x')
    for table in (models, planned, *parts):
        for column in table.columns[1:]:
            column.justify = 'right'
    return [models, *parts, planned]


def _part_table(pair: dict[str, Any], part: str) -> Table:
    table = Table(part.removesuffix('s'), title=f'MMACs an image by {part.removesuffix("s")}', title_justify='left')
    for name in MODEL_NAMES:
        table.add_column(f'{name}\nforward')
        table.add_column(f'{name}\nbackward')
    for place in dict.fromkeys(key for name in MODEL_NAMES for key in pair[name][part]):
        cells = (pair[name][part].get(place, [0, 0]) for name in MODEL_NAMES)
        table.add_row(place, *(f'{macs / 1e6:,.3f}' for both in cells for macs in both))
    return table
