"""The batches of an epoch from any one on, whatever becomes of the processes that load them."""

import signal
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from torch.utils.data import BatchSampler, DataLoader

from motivation.datasets.seeded import PlacedSampler
from motivation.errors import ConfigError, TrainingError

# How often loading begins anew in an epoch before training gives up.
MAX_WORKER_RESTARTS = 3


class EpochBatches:
    """Loads the batches of an epoch, or what is left of it, and loads on where a worker has died.

    Args:
        dataloader: The data loader; its samples are told their places, unless a batch sampler of the user's
            own chooses them.
        tell: Called with what a person who watches the run should know.
    """

    def __init__(self, dataloader: DataLoader, tell: Callable[[str], None]) -> None:
        self._dataloader: Any = dataloader
        self._tell = tell
        self._sampler: PlacedSampler | None = None
        if type(dataloader.batch_sampler) is BatchSampler:
            self._sampler = PlacedSampler(dataloader.sampler)
            dataloader.batch_sampler.sampler = self._sampler

    def after(self, done: int, epoch: int) -> Iterator[Any]:
        """Yield the batches of an epoch after the first ``done``.

        Args:
            done: Batches of the epoch that are over.
            epoch: Number of the epoch, from 1, for messages.

        Raises:
            TrainingError: Workers die again and again.
            ConfigError: The sampler ends before the length that it says it has.
        """
        restarts = 0
        while done < len(self._dataloader):
            batches = self._load(done)
            try:
                for batch in batches:
                    yield batch
                    done += 1
                break
            except RuntimeError as error:
                if 'DataLoader worker' not in str(error):
                    raise
                restarts += 1
                if restarts > MAX_WORKER_RESTARTS:
                    raise TrainingError(
                        f'data-loading workers died {restarts} times in epoch {epoch} ({error}); the machine may '
                        'be short of memory: lower train_dataloader.num_workers, and continue with --resume'
                    ) from error
                self._dataloader._iterator = None  # that of persistent workers
                self._tell(f'a data-loading worker died ({error}); loading goes on with batch {done + 1}')
        if done < len(self._dataloader):
            raise ConfigError(
                f'train_dataloader.sampler ends after {done:,} batches of epoch {epoch}, which has '
                f'{len(self._dataloader):,} by its length; make both agree'
            )

    def _load(self, done: int) -> Iterator[Any]:
        if self._sampler is None:
            return islice(self._dataloader, done, len(self._dataloader))
        self._sampler.begin = done * self._dataloader.batch_size
        batches = iter(self._dataloader)
        # Torch raises where a worker dies, wherever training is then; asking for the next batch says so too.
        if self._dataloader.num_workers and signal.getsignal(signal.SIGCHLD) not in (signal.SIG_DFL, None):
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        return batches
