"""Samplers of evaluation data."""

import pytest
from torch.utils.data import DataLoader

from motivation.datasets.spread_sampler import SpreadSampler
from motivation.engine.checks.evaluation_sampler import check_drawn_once
from motivation.errors import ConfigError


@pytest.mark.parametrize('drawn', [[0, 1, 2, 2], [0, 1, 2], [3, 2, 1, 0, 0]])
def test_sampler_that_repeats_or_drops_samples_is_refused(drawn):
    with pytest.raises(ConfigError, match=rf'^val_dataloader\.sampler is list, which draws {len(drawn)} samples, '):
        check_drawn_once(DataLoader(list(range(4)), 2, sampler=drawn), 'val_dataloader')


@pytest.mark.parametrize('sampler', [[3, 1, 0, 2], SpreadSampler([0, 1, 2, 3], 1, 2)])
def test_each_sample_once_in_any_order_or_a_shortened_epoch_is_accepted(sampler):
    check_drawn_once(DataLoader(list(range(4)), 2, sampler=sampler), 'val_dataloader')
