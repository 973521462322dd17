"""Kill Ray workers and nodes at random moments of a comparison, and compare its results with undisturbed ones.

The digits quickstart is compared over several arms and seeds, once on this machine alone, and once on a Ray cluster of
two nodes of which workers and nodes are killed meanwhile. Both models of every run must be the same bit for bit, and so
must compare.json apart from times; otherwise the exit status is 1.

    python tests/kill_on_ray.py --workers 4 --nodes 2
    python tests/kill_on_ray.py --workers 4 --nodes 2 --copies
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from motivation.utils.checkpoint import read_checkpoint  # noqa: E402
from tests.executors.ray_cluster import NODE, is_alive, kill_worker, process_of, ray_cluster  # noqa: E402

CONFIG = 'configs/digits/resnet8_resnet20_consecutive.py'
ARMS = ('never', 'always', 'consecutive', 'random', 'matched')


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--workers', type=int, default=4, help='number of workers to kill')
    parser.add_argument('--nodes', type=int, default=2, help='number of nodes to kill')
    parser.add_argument('--seeds', type=int, default=2, help='number of seeds of each arm')
    parser.add_argument('--epochs', type=int, default=4)
    parser.add_argument('--copies', action='store_true', help='have the nodes not see the folders of the runs')
    return parser.parse_args()


def start(args, work_dir, executor):
    """Start the comparison, and return its process."""
    seeds = map(str, range(args.seeds))
    command = [
        sys.executable, str(ROOT / 'tools/compare.py'), str(ROOT / CONFIG), '--work-dir', work_dir,
        '--arms', *ARMS, '--seeds', *seeds, '--epochs', str(args.epochs), '--executor', executor, '--cfg-options',
        'default_hooks.checkpoint.every_iters=3', 'train_dataloader.num_batch_per_epoch=8', 'train_dataloader.batch_size=16',
    ]  # fmt: skip
    return subprocess.Popen(command, env={**os.environ, 'OMP_NUM_THREADS': '1'})


def training(folder):
    """Return the folders of runs that are training and have a checkpoint."""
    found = []
    for lock in folder.glob('*/seed*/.lock'):
        with suppress(OSError, IndexError):
            if is_alive(process_of(lock.parent)) and any(lock.parent.glob('epoch_*.pth')):
                found.append(lock.parent)
    return found


def disturb(args, cluster, comparison, folder):
    """Kill workers and nodes in a random order while the comparison goes on."""
    left = random.Random(0).sample(['worker', 'node'], counts=[args.workers, args.nodes], k=args.workers + args.nodes)
    while comparison.poll() is None:
        time.sleep(random.uniform(0.5, 3))
        runs = training(folder)
        if not left or not runs:
            continue
        run = random.choice(runs)
        if left[0] == 'worker':
            with suppress(OSError, IndexError):
                kill_worker(run)
                print(f'killed the worker of {run.relative_to(folder)}', flush=True)
                left.pop(0)
        else:
            (node,) = cluster.worker_nodes
            cluster.remove_node(node, allow_graceful=False)
            cluster.add_node(**NODE)
            print('killed a node, and added another', flush=True)
            left.pop(0)
    return left


def without_times(comparison):
    """Return what must not depend on where and when the runs were executed."""
    if isinstance(comparison, dict):
        dropped = ('wall_seconds', 'folder')
        return {key: without_times(value) for key, value in comparison.items() if key not in dropped}
    return [*map(without_times, comparison)] if isinstance(comparison, list) else comparison


def differences(one, other):
    """Yield what differs between two finished comparisons."""
    texts = (((folder / 'compare.json').read_text()).replace(str(folder), '') for folder in (one, other))
    contents = [without_times(json.loads(text)) for text in texts]
    for key in contents[0]:
        if contents[0][key] != contents[1][key]:
            yield f'compare.json: {key}'
    for path in sorted(one.glob('*/seed*/*.pth')):
        if path.name in ('base.pth', 'motivated.pth'):
            ours, theirs = (read_checkpoint(place)['state_dict'] for place in (path, other / path.relative_to(one)))
            if any(not tensor.equal(theirs[key]) for key, tensor in ours.items()):
                yield str(path.relative_to(one))


def main():
    args = parse_args()
    with tempfile.TemporaryDirectory() as temporary, ray_cluster() as cluster:
        os.chdir(temporary)
        node = Path('node')
        node.mkdir()
        executor = f'ray:address={cluster.address},retries=20' + (
            f',directory={node.absolute()}' if args.copies else ''
        )
        comparison = start(args, 'ray', executor)
        left = disturb(args, cluster, comparison, node / 'ray' if args.copies else Path('ray'))
        outputs = [path.read_text() for path in Path('ray').glob('*/seed*/output.txt')]
        resumed = sum(text.count('resumed after batch') for text in outputs)
        print(f'exit status {comparison.returncode}, resumed {resumed} times, not killed: {left or "nothing"}')
        if args.copies:
            print('left on the nodes:', sorted(map(str, node.rglob('*'))))
        status = start(args, 'local', 'local').wait()
        found = [*differences(Path('local'), Path('ray'))]
        print(f'{len(outputs)} runs; different:', ', '.join(found) or 'nothing')
    sys.exit(bool(found or status or comparison.returncode or left))


if __name__ == '__main__':
    main()
