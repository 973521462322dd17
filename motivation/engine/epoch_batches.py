"""Loading the batches of an epoch from any batch on, also after a worker has died."""

import signal
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from torch.utils.data import BatchSampler, DataLoader

from motivation.datasets import DeviceDataLoader
from motivation.datasets.places import PlacedSampler
from motivation.errors import ConfigError, TrainingError

# Number of restarts of the workers within an epoch before an error is raised.
MAX_WORKER_RESTARTS = 3


class EpochBatches:
    """Loads the remaining batches of an epoch, and restarts the workers if one dies.

    Args:
        dataloader: The data loader. Unless its batch sampler is user-defined, its sampler is wrapped in a
            :class:`~motivation.datasets.places.PlacedSampler`, if it is none.
        announce: Called with messages for the user.
    """

    def __init__(self, dataloader: DataLoader, announce: Callable[[str], None]) -> None:
        self._dataloader: Any = dataloader
        self._announce = announce
        self._sampler: PlacedSampler | None = None
        if type(dataloader.batch_sampler) is BatchSampler:
            given = dataloader.batch_sampler.sampler
            self._sampler = given if isinstance(given, PlacedSampler) else PlacedSampler(given)
            dataloader.batch_sampler.sampler = self._sampler

    def prepare(self) -> None:
        """Read a dataset that is kept on the device, so that its time is not the first batch's."""
        if isinstance(self._dataloader, DeviceDataLoader):
            self._dataloader.load()

    def after(self, done: int, epoch: int) -> Iterator[Any]:
        """Yield the batches of an epoch after the first ``done``.

        Args:
            done: Number of batches of the epoch already done.
            epoch: Number of the epoch, from 1, for messages.

        Raises:
            TrainingError: Workers die more than :data:`MAX_WORKER_RESTARTS` times.
            ConfigError: The sampler yields fewer samples than its length.
        """
        restarts = 0
        while done < len(self._dataloader):
            batches = self._load(done)
            try:
                for batch in batches:
                    yield batch
                    done += 1
                break
            except (RuntimeError, ConnectionError, EOFError) as error:
                if not self._is_of_dead_worker(error):
                    raise
                restarts += 1
                if restarts > MAX_WORKER_RESTARTS:
                    raise TrainingError(
                        f'data-loading workers died {restarts} times in epoch {epoch} ({error}); the machine may '
                        'be short of memory: lower train_dataloader.num_workers, and continue with --resume'
                    ) from error
                self._dataloader._iterator = None  # drop persistent workers
                self._announce(f'a data-loading worker died ({error}); workers restart at batch {done + 1}')
        if done < len(self._dataloader):
            raise ConfigError(
                f'train_dataloader.sampler ends after {done:,} batches of epoch {epoch}, which has '
                f'{len(self._dataloader):,} by its length; make both agree'
            )

    def _is_of_dead_worker(self, error: Exception) -> bool:
        """Return whether an exception says that a worker has died, and is not one that a worker raised."""
        if not self._dataloader.num_workers or str(error).startswith('Caught '):
            return False
        # While a batch is being received, a worker's death is a lost connection.
        return 'DataLoader worker' in str(error) or not isinstance(error, RuntimeError)

    def _load(self, done: int) -> Iterator[Any]:
        if self._sampler is None:
            return islice(self._dataloader, done, len(self._dataloader))
        self._sampler.begin = done * self._dataloader.batch_size
        batches = iter(self._dataloader)
        # Torch's handler raises at any point of training when a worker dies; asking for the next batch raises as well.
        if self._dataloader.num_workers and signal.getsignal(signal.SIGCHLD) not in (signal.SIG_DFL, None):
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        return batches
