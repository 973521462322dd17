"""One comparison has the same results wherever its runs are executed, bit for bit.

The test takes two arms and a seed. ``python -m tests.executors.test_same_results NAME ...`` takes five arms and three
seeds through the local executor and those that are named, such as ``slurm:cluster=local``.
"""

import hashlib
import importlib.util
import json
import os
import sys
import tempfile
from pathlib import Path

import pytest

from motivation.commands.compare import SCRIPT
from motivation.comparison.compare import Comparison
from tests.conftest import DIGITS

# What depends on when and where a run was executed.
_OWN = ('wall_seconds', 'folder')

# Executors beside the local one, and the package that each needs.
EXECUTORS = {'slurm:cluster=local': 'submitit'}

# One of the arms waits for another.
ARMS, SEEDS = ('consecutive:drops=1', 'matched'), (0,)
ALL_ARMS, ALL_SEEDS = ('never', 'always', 'consecutive:drops=1', 'random', 'matched'), (0, 1, 2)

SMALL = {
    'model.weight_map.type': 'DepthMap',
    'train_dataloader.batch_size': 16,
    'train_dataloader.num_batch_per_epoch': 6,
    'val_dataloader.batch_size': 40,
    'val_dataloader.num_batch_per_epoch': 1,
    'default_hooks.report.picture': False,
    'default_hooks.predictions': None,
}


def results(executor, folder, arms, seeds):
    """Return the results of the comparison, without times and folders, and a digest of the weights of every model."""
    comparison = Comparison(DIGITS, folder, SMALL, arms=arms, seeds=seeds, epochs=1, executor=executor)
    comparison.run(SCRIPT, limit=1)
    assert comparison.write(), [job.reason for job in comparison.jobs]
    weights = {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.glob('*/seed*/*.pth')
        if not path.name.startswith('epoch')
    }
    assert len(weights) >= len(arms) * len(seeds)
    return _without_own(json.loads((folder / 'compare.json').read_text())), weights


def _without_own(value):
    if isinstance(value, dict):
        return {name: _without_own(inner) for name, inner in value.items() if name not in _OWN}
    return [_without_own(inner) for inner in value] if isinstance(value, list) else value


@pytest.fixture(scope='module')
def by_local(tmp_path_factory):
    return results('local', tmp_path_factory.mktemp('local'), ARMS, SEEDS)


@pytest.mark.parametrize('executor', EXECUTORS)
def test_results_are_those_of_the_local_executor(executor, by_local):
    if importlib.util.find_spec(EXECUTORS[executor]) is None:
        pytest.skip(f'{EXECUTORS[executor]} is not installed')
    assert results(executor, Path('work'), ARMS, SEEDS) == by_local


if __name__ == '__main__':
    os.chdir(tempfile.mkdtemp())
    expected = results('local', Path('local'), ALL_ARMS, ALL_SEEDS)
    for name in sys.argv[1:]:
        found = results(name, Path(name.replace(':', '_')), ALL_ARMS, ALL_SEEDS)
        assert found == expected, name
        print(
            f'{name}: compare.json and the {len(found[1])} files of weights of {len(ALL_ARMS) * len(ALL_SEEDS)} runs are those of local'
        )
