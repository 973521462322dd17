"""Training several runs in one process in turns, so that benchmarks compare them on the same machine."""

import time
from collections.abc import Callable, Sequence
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


def time_in_turns(
    steps: Sequence[Callable[[], None]],
    iterations: int,
    warmup: int,
    after_first: Callable[[], None] = lambda: None,
) -> tuple[list[list[float]], list[list[float]]]:
    """Time the iterations of several loops, of which another is first each time.

    Args:
        steps: Makes one iteration of each loop.
        iterations: Number of iterations measured.
        warmup: Number of iterations before them.
        after_first: Called after the first iteration of all.

    Returns:
        Seconds of each iteration of each loop, and those of the processor, which other processes do not share.
    """
    seconds: list[list[float]] = [[] for _ in steps]
    busy: list[list[float]] = [[] for _ in steps]
    for index in range(warmup + iterations):
        for turn in range(len(steps)):
            place = (index + turn) % len(steps)
            begun = time.perf_counter(), time.process_time()
            steps[place]()
            seconds[place].append(time.perf_counter() - begun[0])
            busy[place].append(time.process_time() - begun[1])
        if index == 0:
            after_first()
    return [own[warmup:] for own in seconds], [own[warmup:] for own in busy]
