"""A Ray worker and a whole Ray node are lost while a run trains."""

import re
from contextlib import closing
from pathlib import Path

import pytest
import torch

from motivation.commands.compare import SCRIPT
from motivation.executors.executor import RunRequest
from motivation.executors.ray_executor import RayExecutor
from motivation.utils.checkpoint import read_checkpoint
from tests.conftest import tiny_config, train
from tests.executors.ray_cluster import NODE, is_alive, kill_worker, process_of, ray_cluster, wait_until

pytest.importorskip('ray')

# A run that trains an epoch and then waits, but for the third time that it is started.
PLUGIN = """
import time
from pathlib import Path

from mmengine.hooks import Hook

from motivation.registry import HOOKS


@HOOKS.register_module()
class Pause(Hook):
    def before_train(self, runner):
        with Path('starts.txt').open('a') as file:
            file.write('x')
        self.last = runner.epoch + 1

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        starts = len(Path('starts.txt').read_text())
        while starts < 3 and runner.epoch == self.last and batch_idx == 3:
            Path(f'paused_{starts}').touch()
            time.sleep(0.1)
"""


def test_run_whose_worker_and_then_whose_node_is_killed_ends_as_an_uninterrupted_one():
    Path('pause.py').write_text(PLUGIN)
    folder = Path('work/consecutive/seed0')
    folder.mkdir(parents=True)
    config = tiny_config(folder, epochs=3)
    config.custom_imports = dict(imports=['pause'])
    config.custom_hooks = [dict(type='Pause')]
    config.dump('config.py')
    request = RunRequest('consecutive_seed0', Path('config.py'), folder)
    with ray_cluster() as cluster:
        (node,) = cluster.worker_nodes
        cluster.remove_node(node)
        node = cluster.add_node(**NODE, resources={'apart': 1})
        executor = RayExecutor(cluster.address, resources={'apart': 1})
        executor.open(SCRIPT, {'PYTHONPATH': str(Path.cwd())}, Path('work'))
        with closing(executor):
            (run,) = executor.submit([request])
            wait_until(lambda: Path('paused_1').exists() or run.poll())
            kill_worker(folder)
            wait_until(lambda: Path('paused_2').exists() or run.poll())
            process = process_of(folder)
            cluster.remove_node(node, allow_graceful=False)
            wait_until(lambda: not is_alive(process))
            cluster.add_node(**NODE, resources={'apart': 1})
            outcome = run.wait()
    output = request.output.read_text()
    assert outcome.code == 0, output
    assert re.findall(r'resumed after batch \d+ of 18', output) == [
        'resumed after batch 6 of 18', 'resumed after batch 12 of 18',
    ]  # fmt: skip
    alone = tiny_config(Path('alone'), epochs=3)
    train(alone)
    assert (folder / 'switches.npz').read_bytes() == Path('alone/switches.npz').read_bytes()
    for name in ('base.pth', 'motivated.pth'):
        ours, theirs = (read_checkpoint(place / name)['state_dict'] for place in (folder, Path('alone')))
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(tensor, theirs[key]) for key, tensor in ours.items())
