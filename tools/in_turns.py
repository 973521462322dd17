"""Training several runs in one process in turns, so that benchmarks compare them on the same machine."""

from collections.abc import Callable
from typing import Any


def register_images() -> None:
    """Register ``RandomImages``, a dataset of random bytes in memory."""
    import torch

    from motivation.datasets.image_dataset import ImageDataset, TensorImages
    from motivation.registry import DATASETS

    @DATASETS.register_module()
    class RandomImages(ImageDataset):
        """Images of random bytes, in memory."""

        def __init__(self, count: int, transforms: Any = ()) -> None:
            images = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8)
            source = TensorImages(images, torch.randint(0, 10, (count,)))
            super().__init__(source, [str(index) for index in range(10)], transforms)


def run_in_turns(configs: list[Any], begun: Callable[[list[Any]], None]) -> None:
    """Train several runs, each within the other, up to where their first epoch begins.

    Args:
        configs: Their configs.
        begun: Called once, with the loops of all; then training ends.
    """
    from motivation.engine.train_loop import DualTrainLoop
    from motivation.registry import LOOPS, RUNNERS

    loops: list[Any] = []

    @LOOPS.register_module(force=True)
    class StepwiseLoop(DualTrainLoop):
        """Lets another decide when it trains on a batch."""

        def run_epoch(self) -> None:
            self.runner.call_hook('before_train_epoch')
            self.runner.model.train()
            self.batches = enumerate(self.dataloader)
            loops.append(self)
            if len(loops) < len(configs):
                RUNNERS.build(configs[len(loops)]).train()
            else:
                begun(loops)
            self._epoch += 1

        def step(self) -> None:
            """Train on the next batch."""
            index, batch = next(self.batches)
            self.run_iter(index, batch)
            self.runner.call_hook('between_iters')
            if self.runner.interruption.asked():
                raise SystemExit(self.runner.interruption.exit_status)

    for config in configs:
        config.train_cfg.type = 'StepwiseLoop'
    RUNNERS.build(configs[0]).train()
