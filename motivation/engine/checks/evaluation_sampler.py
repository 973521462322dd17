"""Whether a sampler of evaluation data draws each sample once."""

from itertools import islice
from typing import Any

from mmengine.dist import get_world_size
from torch.utils.data import BatchSampler, DataLoader

from motivation.datasets.spread_sampler import SpreadSampler
from motivation.errors import ConfigError
from motivation.utils.random_state import preserved_random_state


def check_drawn_once(loader: DataLoader, field: str) -> None:
    """Check that each sample of a data set counts once in a score.

    Nothing is checked of a shortened epoch, of a user-defined batch sampler, or with several processes.

    Args:
        loader: The data loader of validation or test data.
        field: Its field.

    Raises:
        ConfigError: The sampler leaves some samples out, or draws some several times.
    """
    sampler: Any = loader.sampler
    if type(loader.batch_sampler) is not BatchSampler or isinstance(sampler, SpreadSampler) or get_world_size() > 1:
        return
    total = len(loader.dataset)  # type: ignore[arg-type]
    with preserved_random_state():
        drawn = list(islice(sampler, len(sampler)))
    different = len(set(drawn))
    if different != total or len(drawn) != total:
        raise ConfigError(
            f'{field}.sampler is {type(sampler).__name__}, which draws {len(drawn):,} samples, {different:,} different ones of '
            f"the {total:,} of its dataset, and a score needs each once: write sampler=dict(type='DefaultSampler', "
            'shuffle=False)'
        )
