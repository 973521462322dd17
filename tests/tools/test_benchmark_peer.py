import argparse
import runpy
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from motivation.config.checks import check_config
from motivation.config.read import load_config
from motivation.datasets import TimmDataset
from tests.conftest import ROOT

PEER = runpy.run_path(str(ROOT / 'tools/benchmark_peer.py'))
ARGS = argparse.Namespace(
    timm_train=Path('train.py'), images=20, model='test_resnet', size=32, batch_size=8, workers=1, epochs=2
)


def test_both_train_on_the_same_images_and_the_folder_is_always_the_same():
    for folder in ('one', 'other'):
        PEER['make_folder'](Path(folder), 20, 64)
    images = sorted(Path('one').rglob('*.jpg'))
    assert [path.read_bytes() for path in images] == [
        path.read_bytes() for path in sorted(Path('other').rglob('*.jpg'))
    ]
    with Image.open(images[0]) as image:
        assert min(image.size) >= 56 and max(image.size) <= 72
    assert [len(TimmDataset('one', split=split)) for split in ('train', 'val')] == [20, 10]


def test_config_of_the_benchmark_is_accepted_and_says_what_timm_is_told():
    PEER['make_folder'](Path('folder'), 20, 64)
    command = PEER['our_command'](ARGS, Path('folder').resolve(), Path('ours'), 'train_cfg.val_interval=2')
    config = load_config(command[2], {})
    check_config(config)
    theirs = PEER['timm_command'](ARGS, Path('folder'), Path('timm'), '--channels-last')
    told = dict(zip(theirs[2::2], theirs[3::2], strict=False))
    assert command[-2:] == ['--cfg-options', 'train_cfg.val_interval=2'] and theirs[-1] == '--channels-last'
    assert (told['--model'], told['-b'], told['-j']) == ('test_resnet', '8', '1')
    assert config.train_dataloader.batch_size == 8 and config.train_dataloader.num_workers == 1


def test_figures_are_those_of_the_process():
    wait = "print('Train: 0 [0/2] Time: 9s,'); print('Train: 0 [1/2] Time: 0.5s,'); print('Train: 0 [1/2] Time: 0.5s,')"
    busy = 'import time\nwhile time.process_time() < 0.4: pass'
    figures = PEER['measure']([sys.executable, '-c', f'{wait}\n{busy}'], ARGS, Path())
    assert figures['step'] == pytest.approx(8 / 0.5)
    assert figures['processor'] <= 2 * 16 / 0.4 and figures['whole'] <= 2 * 16 / 0.4  # of two epochs of two batches
    with pytest.raises(SystemExit, match=r'ended with 3:\nlost'):
        PEER['measure']([sys.executable, '-c', "print('lost'); raise SystemExit(3)"], ARGS, Path())
    assert torch.cuda.is_available() == ('cuda' in PEER['timm_command'](ARGS, Path(), Path(), ''))
