"""Kills a training run at random moments, resumes it each time, and compares what it ends with.

Runs the digits quickstart without a break, then again and again with ``--resume auto``, killed each
time after a random while, until so many kills are survived; a checkpoint is written every three
batches, so that many kills fall into one. Both models of every run that comes to its end must have the
weights of the run without a break, bit for bit. Prints the figures; exits with 1 where they are not so.

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


def run_in_child(work_dir, epochs):
    """Train in a process of its own, which has all modules already; returns its number."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    from motivation.engine.launch import prepare_training
    from motivation.registry import RUNNERS

    status = 1
    try:
        with (work_dir.parent / f'{work_dir.name}.txt').open('a') as output:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
            RUNNERS.build(prepare_training(CONFIG, str(work_dir), 'auto', options(epochs))).train()
            status = 0
    except SystemExit as ended:
        status = ended.code
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(status)


def weights(work_dir):
    from motivation.engine.checkpoint import read_checkpoint

    return {name: read_checkpoint(work_dir / f'{name}.pth')['state_dict'] for name in ('base', 'motivated')}


def main():
    args = parse_args()
    import torch

    import motivation.engine.launch
    import motivation.engine.runner
    import motivation.hooks  # noqa: F401
    from motivation.engine.checkpoint import find_checkpoints

    torch.set_num_threads(1)
    chance = random.Random(args.seed)
    number = {'KILL': signal.SIGKILL, 'TERM': signal.SIGTERM}[args.signal]
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / 'whole'
        begun = time.monotonic()
        _, status = os.waitpid(run_in_child(whole, args.epochs), 0)
        seconds = time.monotonic() - begun
        assert status == 0, (Path(folder) / 'whole.txt').read_text()
        expected = weights(whole)
        kills = runs = within_saves = 0
        lost, failures = [], []
        while kills < args.kills:
            runs += 1
            work_dir = Path(folder) / f'run{runs}'
            while True:
                child = run_in_child(work_dir, args.epochs)
                time.sleep(chance.uniform(0.2, 1.0) * min(seconds, 6))
                done, status = os.waitpid(child, os.WNOHANG)
                if not done:
                    os.kill(child, number)
                    _, status = os.waitpid(child, 0)
                if os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0:
                    break
                ended = os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
                if ended not in (signal.SIGKILL, 143, signal.SIGTERM):
                    failures.append((Path(folder) / f'run{runs}.txt').read_text()[-2000:])
                    break
                kills += 1
                within_saves += any(work_dir.glob('.*.part'))
                lost.append(_lost(work_dir, find_checkpoints(work_dir)))
            same = not failures and all(
                torch.equal(tensor, expected[name][key])
                for name, model in weights(work_dir).items()
                for key, tensor in model.items()
            )
            if not same:
                failures.append(f'run {runs}: other weights')
            print(f'run {runs}: {kills} kills, {"the same weights" if same else "OTHER WEIGHTS"}', flush=True)
            if failures:
                break
    lost = [batches for batches in lost if batches is not None]
    print(
        f'{kills} times SIG{args.signal}, {within_saves} of them within a write; {runs} runs of {args.epochs} epochs, '
        f'{"all" if not failures else "NOT all"} with the weights of the run without a break, bit for bit; batches lost '
        f'a kill: mean {statistics.fmean(lost):.2f}, at most {max(lost)} (saved every 3)'
    )
    for failure in failures:
        print(failure)
    sys.exit(bool(failures))


def _lost(work_dir, checkpoints):
    """Batches that were logged and that no checkpoint has; ``None`` before the first of a run."""
    logs = sorted(work_dir.glob('*/vis_data/scalars.json'))
    if not checkpoints or not logs:
        return None
    steps = [int(step) for step in re.findall(r'"step": (\d+)', logs[-1].read_text())]
    epoch, _, iteration = re.fullmatch(r'epoch_(\d+)(_iter_(\d+))?\.pth', checkpoints[-1].name).groups()
    return max(0, max(steps, default=0) - (int(iteration) if iteration else int(epoch) * 23))


if __name__ == '__main__':
    main()
