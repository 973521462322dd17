"""What a new run begins with: a base model cut out of a pretrained one, or the models of an earlier run."""

from pathlib import Path
from typing import Any

from torch import Tensor

from motivation.engine.recalibration import reestimate
from motivation.models.pretraining import Pretraining, is_pretrained
from motivation.models.source_weights import head_names
from motivation.structures import MODEL_NAMES
from motivation.utils.distributed import share_buffers

# Training samples on which the statistics of a base model that was cut out are re-estimated, or all if there are fewer;
# fvcore's precise_bn and docs/choices.md take as many.
SAMPLES = 2_000


def begin_run(runner: Any) -> None:
    """Give a base model that was cut out of a pretrained motivated model statistics of its own.

    Those of the motivated model belong to features that the base model does not compute: it lacks blocks and channels.

    Args:
        runner: The runner of a new training, before its first batch.
    """
    model = runner.model
    if not isinstance(model.pretraining, Pretraining) or model.pretraining.start != 'motivated':
        return
    used = reestimate(runner, {'base': model.base}, min(SAMPLES, len(runner.train_dataloader.dataset)))
    share_buffers(model.base)
    model.pretraining = model.pretraining._replace(reestimated=used)


def with_new_heads(runner: Any, state_dict: dict[str, Tensor], path: Path) -> tuple[dict[str, Tensor], bool]:
    """Return the weights of an earlier run for a new one, with the new run's heads if its number of classes differs.

    Args:
        runner: The runner of the new run, to which new heads are announced.
        state_dict: The weights of both models.
        path: Path of their checkpoint.

    Returns:
        The weights, and whether the heads are new.
    """
    replaced = [f'model.{name}' for name in MODEL_NAMES if is_pretrained(getattr(runner.model, name))]
    if replaced:
        runner.announce(f'load_from replaces the pretrained weights of {" and ".join(replaced)}, which are not read')
    own = runner.model.state_dict()
    heads = {f'{name}.{head}' for name in MODEL_NAMES for head in head_names(getattr(runner.model, name))}
    resized = sorted(
        head
        for head in heads & state_dict.keys()
        if len(state_dict[head]) != len(own[head]) and state_dict[head].shape[1:] == own[head].shape[1:]
    )
    if not resized:
        return state_dict, False
    before, now = (len(weights[resized[0]]) for weights in (state_dict, own))
    runner.announce(f"the heads of both models are new, for {now} classes: those of '{path}' are for {before}")
    return {**state_dict, **{head: own[head] for head in heads}}, True
