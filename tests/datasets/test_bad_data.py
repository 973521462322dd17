"""Unreadable images, images of unusual modes and sizes, and invalid labels."""

import json
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Subset

from motivation.datasets import ImageDataset, TimmDataset, collate_images, first_batch
from motivation.datasets.image_dataset import TensorImages
from motivation.errors import ConfigError, clear_errors
from motivation.hooks import ComputeMeterHook, MotivationHook
from motivation.hooks.bad_data_hook import BadDataHook
from motivation.registry import DATASETS
from tests.conftest import digits_config, train
from tests.small import SMALL_PAIR

GOOD, BAD = 64, 40


def damage(path, kind):
    whole = path.read_bytes()
    path.unlink()
    if kind == 'dangling':
        path.symlink_to('nowhere.png')
    elif kind == 'bomb':
        Image.new('1', (1, 1)).save(path)
        header = bytearray(path.read_bytes())
        header[16:24] = (30_000).to_bytes(4, 'big') * 2  # width and height, which IHDR's checksum covers
        header[29:33] = zlib.crc32(header[12:29]).to_bytes(4, 'big')
        path.write_bytes(header)
    else:
        path.write_bytes({'truncated': whole[: len(whole) // 2], 'empty': b'', 'text': b'<html>404</html>'}[kind])


KINDS = {
    'truncated': 'truncated',
    'empty': 'it is empty or not an image',
    'text': 'it is empty or not an image',
    'dangling': 'No such file or directory',
    'bomb': 'could be decompression bomb',
}


def write_images(root, good, bad=0, classes=10, size=8):
    """Write good images with unreadable ones of every kind spread among them; return the unreadable files."""
    generator, damaged = np.random.default_rng(0), {}
    for index in range(good + bad):
        folder = Path(root) / str(index % classes)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f'{index:04}.png'
        Image.fromarray(generator.integers(0, 256, (size, size), dtype=np.uint8)).save(path)
        if index * bad // (good + bad) != (index - 1) * bad // (good + bad):  # the very first image among them
            kind = [*KINDS][len(damaged) % len(KINDS)]
            damage(path, kind)
            damaged[path] = kind
        (folder / 'a_folder.png').mkdir(exist_ok=True)  # not an image, and not counted
    return damaged


def folder_config(work_dir, epochs=2, workers=0, meter=False, **dataset):
    config = digits_config(work_dir, epochs=epochs, meter=meter, **SMALL_PAIR)
    config.train_dataloader.pop('num_batch_per_epoch')
    config.train_dataloader.update(batch_size=16, num_workers=workers)
    config.train_dataloader.dataset = dict(type='TimmDataset', root='images', split='train', image_mode='L', **dataset)
    return config


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('cache_mib', [0, 1024])
def test_unreadable_image_is_reported_with_its_cause(kind, cache_mib):
    write_images('images/train', good=8, classes=2)
    path = Path('images/train/1/0003.png')
    damage(path, kind)
    with pytest.raises(
        ConfigError, match=rf"^'images/train/1/0003\.png' is unreadable: .*{KINDS[kind]}.*; fix or .*on_error='skip'$"
    ):
        dataset = TimmDataset('images', image_mode='L', cache_mib=cache_mib)
        assert not cache_mib  # the cache reads every image at the start
        [dataset[index] for index in range(8)]

    dataset = TimmDataset('images', image_mode='L', cache_mib=cache_mib, on_error='skip')
    assert len(dataset) == 8 and isinstance(dataset.source, TensorImages) == bool(cache_mib)
    batch = collate_images([dataset[index] for index in range(8)])
    assert batch.keys() == {'inputs', 'targets'} and batch['targets'].tolist() == [0] * 4 + [1] * 3
    ((name, problem),) = batch.skipped
    assert name == repr(str(path)) and KINDS[kind] in problem


def test_first_image_may_be_unreadable_but_not_every_image():
    write_images('images/train', good=4, classes=2)
    paths = sorted(Path('images/train').rglob('0*.png'))
    damage(paths[0], 'empty')
    assert TimmDataset('images', on_error='skip').source.images.shape == (4, 3, 8, 8)
    for path in paths[1:]:
        damage(path, 'empty')
    with pytest.raises(ConfigError, match=r"^root holds 4 images of which none is readable: '.*0\.png' is unread"):
        TimmDataset('images', on_error='skip')


def test_unknown_on_error_is_refused():
    write_images('images/train', good=2, classes=2)
    with pytest.raises(ConfigError, match=r"^on_error must be 'raise' or 'skip', got 'ignore'$"):
        TimmDataset('images', on_error='ignore')


@pytest.mark.parametrize('workers', [0, 2])
def test_run_reports_the_unreadable_file(tmp_path, capsys, workers):
    damaged = write_images('images/train', GOOD, BAD)
    with pytest.raises(SystemExit) as stopped, clear_errors():
        train(folder_config(tmp_path / 'run', workers=workers, cache_mib=0))
    assert stopped.value.code == 2
    line = capsys.readouterr().err
    name = line.split("'")[1]
    assert Path(name) in damaged and line.startswith(f"error: '{name}' is unreadable: ")
    assert KINDS[damaged[Path(name)]] in line and line.endswith("dataset.on_error='skip'\n")


def test_run_skips_and_counts_unreadable_images(tmp_path):
    """With images read by this process, by workers, or, in the resumed half of a run, all at the start."""
    damaged = write_images('images/train', GOOD, BAD)
    Path('images/train/0/notes.txt').write_text('no image')
    results = []
    for folder, workers, cache_mib in (('here', 0, 0), ('workers', 2, 0), ('workers', 0, 1024)):
        work_dir = tmp_path / folder
        config = folder_config(work_dir, workers=workers, meter=True, on_error='skip', cache_mib=cache_mib)
        config.val_dataloader.dataset = config.train_dataloader.dataset
        if work_dir.exists():
            config.resume, config.load_from = True, str(work_dir / 'epoch_1.pth')
        if results:
            config.default_hooks.report = None  # drawn in one of the runs only
        runner = train(config)
        hook, meter = runner.find_hook(BadDataHook), runner.find_hook(ComputeMeterHook).meter
        assert hook.skipped['train'] == hook.skipped['val'] == {repr(str(path)): 2 for path in damaged}
        assert sum(work.images for work in meter.trained.values()) == 2 * GOOD
        iters = sum(work.iters for work in meter.trained.values())
        assert iters == runner.max_iters == 2 * 7  # 104 files in batches of 16
        assert [work.images for work in meter.evaluated.values()] == [2 * GOOD] * 2
        log = ''.join(path.read_text() for path in work_dir.glob('*/*.log'))
        assert all(log.count(f"train_dataloader leaves out '{path}', which is unreadable: ") == 1 for path in damaged)
        assert "'images/train': files skipped, not images: 1 (.txt 1)" in log
        results.append((list(runner.find_hook(MotivationHook).trace.losses), meter.total_train_flops))
    assert all(result == results[0] for result in results)
    report = json.loads((tmp_path / 'here/report.json').read_text())
    count = {'images': BAD, 'times': 2 * BAD}
    assert report['skipped'] == {'train': count, 'val': count}
    assert '- images left out (train): 40, 80 times' in (tmp_path / 'here/report.md').read_text()


def test_batch_without_readable_images_raises_one_sentence():
    write_images('images/train', good=3, classes=3)
    damage(Path('images/train/0/0000.png'), 'text')
    damage(Path('images/train/1/0001.png'), 'text')
    dataset = TimmDataset('images', cache_mib=0, on_error='skip')
    message = r"^dataset\.on_error is 'skip', .* nothing of a batch of 2: '.*0000\.png' is unreadable: .* batch_size$"
    with pytest.raises(ConfigError, match=message):
        collate_images([dataset[0], dataset[1]])
    with pytest.raises(ConfigError, match=r"^dataset\.on_error is 'skip', which leaves nothing of 2 images; fix"):
        first_batch(Subset(dataset, [0, 1]))
    assert first_batch(dataset)['targets'].tolist() == [2]
    with pytest.raises(ConfigError, match=r'which leaves nothing of 256 images; fix'):  # without trying them all
        first_batch(Subset(dataset, [0] * 100_000))


def test_other_modes_are_converted_to_the_colours_they_show():
    folder = Path('images/train/a')
    folder.mkdir(parents=True)
    colour = np.full((2, 2, 3), (200, 100, 50), np.uint8)
    image = Image.fromarray(colour)
    alpha = Image.fromarray(np.array([[0, 255], [128, 255]], np.uint8))
    image.convert('CMYK').save(folder / '0_cmyk.jpg', quality=100)
    with_alpha = image.copy()
    with_alpha.putalpha(alpha)
    with_alpha.save(folder / '1_rgba.png')
    image.quantize(4).save(folder / '2_palette.png', transparency=bytes([0, 128, 255, 255]))
    image.convert('L').convert('LA').save(folder / '3_la.png')
    image.convert('L').save(folder / '4_l.png')
    Image.fromarray(np.array([[False, True], [True, False]])).save(folder / '5_bits.png')
    deep = np.array([[0, 257 * 100], [257 * 200, 65535]], np.uint16)
    Image.fromarray(deep).save(folder / '6_deep.png')
    (folder / '7_deep.png').write_bytes(b'P5 2 2 65535\n' + deep.astype('>u2').tobytes())
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        dataset = TimmDataset('images')
    images = dataset.source.images.permute(0, 2, 3, 1).numpy()
    for index in range(3):
        assert np.abs(images[index].astype(int) - colour).max() <= 2, index  # the first is a JPEG
    luma = round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)
    assert (images[3] == luma).all() and (images[4] == luma).all()
    assert images[5][..., 0].tolist() == [[0, 255], [255, 0]]
    assert images[6][..., 1].tolist() == images[7][..., 2].tolist() == [[0, 100], [200, 255]]
    deep_grey = TimmDataset('images', image_mode='L')[6]['inputs']
    assert deep_grey.tolist() == [[[0, 100], [200, 255]]]


@pytest.mark.parametrize('dtype', [np.int32, np.float32])
def test_grey_levels_of_unknown_scale_are_refused(dtype):
    Path('images/train/a').mkdir(parents=True)
    Image.fromarray(np.ones((2, 2), dtype)).save('images/train/a/0.png', format='TIFF')
    Image.new('L', (2, 2)).save('images/train/a/1.png')
    with pytest.raises(ConfigError, match=r"0\.png' is unreadable: .* no known scale: save them with 8 or 16 bits"):
        TimmDataset('images')
    assert len(collate_images([TimmDataset('images', on_error='skip')[i] for i in range(2)]).skipped) == 1


def test_exif_orientation_is_applied():
    Path('images/train/a').mkdir(parents=True)
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees clockwise
    Image.fromarray(np.array([[10, 20, 30], [40, 50, 60]], np.uint8)).save('images/train/a/0.png', exif=exif)
    assert TimmDataset('images', image_mode='L')[0]['inputs'].tolist() == [[[40, 10], [50, 20], [60, 30]]]


def test_different_sizes_in_a_batch_are_reported_with_a_file_of_each():
    folder = Path('images/train/a')
    folder.mkdir(parents=True)
    for index, side in enumerate((4, 4, 6)):
        Image.new('L', (4, side)).save(folder / f'{index}.png')
    dataset = TimmDataset('images', image_mode='L')
    message = r"\(1, 4, 4\) \('images/train/a/1\.png'\) and \(1, 6, 4\) \('images/train/a/2\.png'\); .*type='Resize'"
    with pytest.raises(ConfigError, match=message):
        collate_images([dataset[index] for index in range(3)])


@pytest.mark.parametrize('label', [-1, 2])
def test_label_out_of_range_is_reported(label):
    images = TensorImages(torch.zeros(3, 1, 2, 2, dtype=torch.uint8), torch.tensor([0, label, 1]))
    dataset = ImageDataset(images, ['a', 'b'])
    with pytest.raises(ConfigError, match=rf'^image 1 has the label {label}, but num_classes is 2; fix or '):
        list(DataLoader(dataset, 3, collate_fn=collate_images))
    skipping = ImageDataset(images, ['a', 'b'], on_error='skip')
    batch = next(iter(DataLoader(skipping, 3, collate_fn=collate_images, num_workers=1, pin_memory=False)))
    assert batch['targets'].tolist() == [0, 1]
    assert batch.skipped == (('image 1', f'has the label {label}, but num_classes is 2'),)


@pytest.mark.parametrize(('stage', 'bad', 'label'), [('train', 77, -1), ('val', 300, 10)])
def test_label_out_of_range_of_a_plugin_dataset_is_reported(tmp_path, stage, bad, label):
    @DATASETS.register_module(force=True)
    class Mislabelled(torch.utils.data.Dataset):
        def __init__(self, bad):
            self.bad = bad

        def __len__(self):
            return 320

        def __getitem__(self, index):
            target = label if index == self.bad else index % 10
            return {'inputs': torch.full((1, 8, 8), index % 256, dtype=torch.uint8), 'targets': target}

    config = digits_config(tmp_path / 'run', epochs=1, **SMALL_PAIR)
    config.train_dataloader.pop('num_batch_per_epoch')
    config.train_dataloader.dataset = dict(type='Mislabelled', bad=bad if stage == 'train' else None)
    config.val_dataloader.dataset = dict(type='Mislabelled', bad=bad if stage == 'val' else None)
    if stage == 'train':
        with pytest.raises(ConfigError, match=r'^image 0 has the label -1, but num_classes is 10; fix or'):
            first_batch(Mislabelled(bad=0), 10)
    with pytest.raises(ConfigError, match=rf'^image {bad} has the label {label}, but num_classes is 10; fix or'):
        train(config)
