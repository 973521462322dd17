"""A worker's death, however it shows, costs no batch; what a dataset raises is not one."""

import pytest

from motivation.engine.epoch_batches import EpochBatches
from motivation.errors import TrainingError


class FailingLoader:
    """Five batches, of which the third is not loaded as often as there are errors."""

    batch_sampler = None

    def __init__(self, *errors, num_workers=1):
        self.errors, self.num_workers = list(errors), num_workers

    def __len__(self):
        return 5

    def __iter__(self):
        for batch in range(5):
            if batch == 2 and self.errors:
                raise self.errors.pop()
            yield batch


@pytest.mark.parametrize(
    'error',
    [
        RuntimeError('DataLoader worker (pid 7) is killed by signal: Killed.'),
        ConnectionResetError(104, 'Connection reset by peer'),
        EOFError(),
    ],
)
def test_batches_go_on_after_the_death_of_a_worker(error):
    said = []
    assert list(EpochBatches(FailingLoader(error), said.append).after(1, 1)) == [1, 2, 3, 4]
    assert len(said) == 1 and said[0].endswith('workers restart at batch 3')


@pytest.mark.parametrize(
    ('error', 'workers'),
    [
        (ConnectionResetError('Caught ConnectionResetError in DataLoader worker process 0.'), 1),
        (RuntimeError('Caught RuntimeError in DataLoader worker process 0.'), 1),
        (ConnectionResetError(104, 'Connection reset by peer'), 0),
        (RuntimeError('a fault of the dataset'), 1),
    ],
)
def test_what_a_dataset_raises_is_not_taken_for_a_death(error, workers):
    with pytest.raises(type(error)) as caught:
        list(EpochBatches(FailingLoader(error, num_workers=workers), print).after(0, 1))
    assert caught.value is error


def test_workers_that_die_again_and_again_end_the_run():
    with pytest.raises(TrainingError, match=r'^data-loading workers died 4 times in epoch 3 .*lower train_dataloader'):
        list(EpochBatches(FailingLoader(*[EOFError()] * 4), print).after(0, 3))
