"""Kill a training run at random moments, resume it each time, and compare its final weights.

The digits quickstart runs uninterrupted, and then repeatedly with ``--resume auto`` until it was killed a given number
of times, each time after a random duration. It saves a checkpoint every three batches, so that many kills happen while
it saves. Both models of every finished run must equal those of the uninterrupted run bit for bit; otherwise the exit
status is 1.

    python tests/kill_and_resume.py --kills 200
"""

import argparse
import os
import random
import re
import signal
import statistics
import sys
import tempfile
import time
import traceback
from pathlib import Path

ROOT = Path(__file__).parent.parent
CONFIG = str(ROOT / 'configs/digits/resnet8_resnet20_consecutive.py')


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--kills', type=int, default=200)
    parser.add_argument('--signal', choices=['KILL', 'TERM'], default='KILL')
    parser.add_argument('--epochs', type=int, default=8)
    parser.add_argument('--seed', type=int, default=0)
    return parser.parse_args()


def options(epochs):
    return {
        'train_cfg.max_epochs': epochs,
        'default_hooks.checkpoint.every_iters': 3,
        'model.motivated.drop_path_rate': 0.1,
    }


def in_child(work, *arguments):
    """Call a function in a fork, and return the id of the process.

    This process never computes with torch, whose threads do not survive a fork.
    """
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        status = work(*arguments) or 0
    except SystemExit as ended:
        status = ended.code
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def train(work_dir, epochs):
    """Start or resume a run; its output goes to a file next to its folder."""
    import torch

    from motivation.cli import prepare_training
    from motivation.registry import RUNNERS

    output = os.open(f'{work_dir}.txt', os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(output, 1)
    os.dup2(output, 2)
    torch.set_num_threads(1)
    RUNNERS.build(prepare_training(CONFIG, str(work_dir), 'auto', options(epochs))).train()


def compare(work_dir, whole):
    """Return 0 if both models of two runs have the same weights bit for bit."""
    import torch

    from motivation.utils.checkpoint import read_checkpoint

    torch.set_num_threads(1)
    for name in ('base.pth', 'motivated.pth'):
        ours, theirs = (read_checkpoint(folder / name)['state_dict'] for folder in (work_dir, whole))
        if ours.keys() != theirs.keys() or not all(torch.equal(tensor, theirs[key]) for key, tensor in ours.items()):
            return 1
    return 0


def status_of(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def live_and_die(work_dir, epochs, seconds, number):
    """Train for some seconds, send a signal, and return the exit status, negative for a signal."""
    child = in_child(train, work_dir, epochs)
    time.sleep(seconds)
    done, status = os.waitpid(child, os.WNOHANG)
    if done:
        return os.waitstatus_to_exitcode(status)
    os.kill(child, number)
    return status_of(child)


def main():
    args = parse_args()
    import motivation.cli
    import motivation.engine.runner
    import motivation.hooks  # noqa: F401
    from motivation.utils.checkpoint import find_checkpoints

    chance = random.Random(args.seed)
    number = {'KILL': signal.SIGKILL, 'TERM': signal.SIGTERM}[args.signal]
    # Killed by the signal, or ended cleanly because of it.
    died = {'KILL': {-signal.SIGKILL}, 'TERM': {-signal.SIGTERM, 143}}[args.signal]
    kills = runs = within_saves = 0
    lost, failure = [], None
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / 'whole'
        begun = time.monotonic()
        assert status_of(in_child(train, whole, args.epochs)) == 0, Path(f'{whole}.txt').read_text()
        seconds = time.monotonic() - begun
        while kills < args.kills and failure is None:
            runs += 1
            work_dir = Path(folder) / f'run{runs}'
            while (
                status := live_and_die(work_dir, args.epochs, chance.uniform(0.2, 1) * min(seconds, 6), number)
            ) in died:
                kills += 1
                within_saves += any(work_dir.glob('.*.part'))
                lost.append(_lost(work_dir, find_checkpoints(work_dir)))
            if status != 0:
                failure = f'run {runs} ended with status {status}: {Path(f"{work_dir}.txt").read_text()[-3000:]}'
            elif status_of(in_child(compare, work_dir, whole)) != 0:
                failure = f'run {runs} has other weights'
            else:
                print(f'run {runs}: {kills} kills so far, the same weights', flush=True)
    lost = [batches for batches in lost if batches is not None]
    print(
        f'{kills} times SIG{args.signal}, {within_saves} of them within a write; {runs} runs of {args.epochs} epochs, '
        f'{"NOT " if failure else ""}all with the weights of the run without a break, bit for bit; batches lost '
        f'a kill: mean {statistics.fmean(lost):.2f}, at most {max(lost)} (saved every 3)'
    )
    if failure is not None:
        sys.exit(failure)


def _lost(work_dir, checkpoints):
    """Return the number of logged batches that are not in a checkpoint; ``None`` before the first checkpoint."""
    logs = sorted(work_dir.glob('*/vis_data/scalars.json'))
    if not checkpoints or not logs:
        return None
    steps = [int(step) for step in re.findall(r'"step": (\d+)', logs[-1].read_text())]
    epoch, _, iteration = re.fullmatch(r'epoch_(\d+)(_iter_(\d+))?\.pth', checkpoints[-1].name).groups()
    return max(0, max(steps, default=0) - (int(iteration) if iteration else int(epoch) * 23))


if __name__ == '__main__':
    main()
