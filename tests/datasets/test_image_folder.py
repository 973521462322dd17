"""Which files of a folder or tar are images, and what class they have."""

import io
import os
import pickle
import tarfile
from pathlib import Path
from unicodedata import normalize

import pytest
from PIL import Image

from motivation.datasets import TimmDataset
from motivation.errors import ConfigError


def write(path, grey=0):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new('L', (4, 4), grey).save(path)


def contents(dataset):
    """Return the grey level and class name of every image."""
    items = (dataset[index] for index in range(len(dataset)))
    return [(int(item['inputs'][0, 0, 0]), dataset.metainfo['classes'][item['targets']]) for item in items]


@pytest.fixture
def warned(monkeypatch):
    said = []
    monkeypatch.setattr('motivation.datasets.opening.print_log', lambda message, *_: said.append(message))
    return said


def in_folder(**arguments):
    return TimmDataset('data', image_mode='L', **arguments)


def in_tar(**arguments):
    with tarfile.open('data.tar', 'w') as tar:
        tar.add('data')
    return TimmDataset('data.tar', image_mode='L', **arguments)


@pytest.mark.parametrize('opened', [in_folder, in_tar])
def test_classes_are_the_folders_directly_under_the_split(opened, warned):
    write('data/train/cat/front/0.png', 1)
    write('data/train/cat/side/deeper/0.png', 2)
    write('data/train/cat/0.png', 0)
    write('data/train/dog/front/0.png', 3)
    write('data/train/dog/cat/0.png', 4)
    write('data/val/cat/9.png', 9)
    assert contents(opened()) == [(0, 'cat'), (1, 'cat'), (2, 'cat'), (4, 'dog'), (3, 'dog')]
    assert contents(opened(split='val')) == [(9, 'cat')] and not warned


@pytest.mark.parametrize('opened', [in_folder, in_tar])
def test_files_that_pillow_decodes_are_images_and_the_rest_is_counted(opened, warned):
    suffixes = ['png', 'webp', 'bmp', 'tif', 'JPEG', 'jpg', 'PNG', 'gif', 'ppm', 'tiff']
    for index, suffix in enumerate(suffixes):
        write(f'data/train/a/{index}.{suffix}', 7)
    write('data/train/loose.png')
    write('data/train/.hidden/0.png')
    Path('data/train/fox').mkdir()
    for name in ('a/._0.png', 'a/.DS_Store', 'a/0.txt', 'a/1.TXT', 'a/LICENSE', 'fox/features.h5', 'boxes.xml'):
        Path('data/train', name).write_text('no image')
    dataset = opened()
    assert len(dataset) == len(suffixes) and {item[1] for item in contents(dataset)} == {'a'}
    assert dataset.metainfo == {'classes': ['a', 'fox']}
    folder = 'data/train' if opened is in_folder else 'data.tar'
    assert warned == [
        f'{folder!r}: files skipped, not images: 5 (.txt 2, without extension 1, .xml 1, .h5 1); images skipped, '
        "outside of class folders: 1 ('loose.png'); classes without images: 1 ('fox')"
    ]


def test_order_is_natural_and_does_not_depend_on_case_or_unicode_form(warned):
    decomposed = normalize('NFD', 'Éclair')
    for index, name in enumerate(['b10', 'b9', 'B2', decomposed, 'zoo']):
        write(f'data/train/{name}/10.png', 10 * index + 1)
        write(f'data/train/{name}/9.png', 10 * index)
    dataset = in_folder()
    assert dataset.metainfo['classes'] == ['B2', 'b9', 'b10', 'zoo', normalize('NFC', decomposed)]
    assert [grey for grey, _ in contents(dataset)] == [20, 21, 10, 11, 0, 1, 40, 41, 30, 31]
    write(f'data/train/{normalize("NFC", decomposed)}/0.png')
    with pytest.raises(
        ConfigError, match=r"its folders '.*clair' and '.*clair' are the same name in two Unicode forms; rename one"
    ):
        in_folder()


def test_class_name_that_is_not_in_utf8_is_refused():
    write(b'data/train/\xff\xfe/0.png'.decode(errors='surrogateescape'))
    with pytest.raises(ConfigError, match=r"the name of its folder '\\udcff\\udcfe' is not in UTF-8; rename it"):
        in_folder()


def test_links_neither_duplicate_nor_move_images(warned):
    write('data/train/cat/0.png', 1)
    write('data/train/dog/0.png', 2)
    write('data/val/cat/0.png', 8)
    write('elsewhere/fox/0.png', 3)
    here = Path.cwd()
    for link, target in {
        'cat/a_dog': 'data/train/dog',
        'cat/itself': 'data/train/cat',
        'cat/up': 'data',
        'dog/all': 'data/train',
        'fox': 'elsewhere/fox',
        'lynx': 'data/train/cat',
    }.items():
        Path('data/train', link).symlink_to(here / target)
    Path('data/train/wolf').symlink_to('gone')
    dataset = in_folder()
    assert contents(dataset) == [(1, 'cat'), (2, 'dog'), (3, 'fox')]
    assert dataset.metainfo['classes'] == ['cat', 'dog', 'fox', 'lynx']
    (line,) = warned
    assert "classes without images: 1 ('lynx')" in line and "links that are broken: 1 ('wolf')" in line
    assert 'links not followed, to folders that are read anyway: 5 (' in line


def test_folder_that_cannot_be_read_is_reported(monkeypatch):
    write('data/train/cat/0.png')

    def refuse(path):
        if str(path).endswith('cat'):
            raise PermissionError(13, 'Permission denied', path)
        return scan(path)

    scan = os.scandir
    monkeypatch.setattr(os, 'scandir', refuse)
    with pytest.raises(ConfigError, match=r'cannot be opened as .folder.: .*Permission denied: .*train/cat'):
        in_folder()


def test_images_without_class_folders_are_refused():
    write('data/train/0.png')
    with pytest.raises(
        ConfigError, match=r"Found 0 images in class folders; images skipped, outside of .*: 1 \('0\.png'\)"
    ):
        in_folder()


@pytest.mark.parametrize('opened', [in_folder, in_tar])
def test_splits_are_not_used_as_classes(opened):
    write('data/train/cat/0.png')
    write('data/Val/cat/0.png')
    with pytest.raises(
        ConfigError, match=r"its folders '\w+', '\w+' are splits, not classes; name one of them as split"
    ):
        opened(split='')


@pytest.mark.parametrize('opened', [in_folder, in_tar])
def test_class_map_sets_the_class_indices(opened, warned):
    for index, name in enumerate(['cat', 'dog', 'fox', 'kitten']):
        write(f'data/train/{name}/0.png', index)
    dataset = opened(class_map={'dog': 0, 'cat': 2, 'kitten': 2, 'ape': 1})
    assert [(item['inputs'][0, 0, 0], item['targets']) for item in (dataset[i] for i in range(3))] == [
        (0, 2),
        (1, 0),
        (3, 2),
    ]
    assert dataset.metainfo['classes'] == ['dog', 'ape', 'cat/kitten']
    assert "in folders that class_map lacks: 1 ('fox'); classes without images: 1 ('ape')" in warned[0]
    Path('names.txt').write_text('kitten\nfox\n')
    assert contents(opened(class_map='names.txt')) == [(2, 'fox'), (3, 'kitten')]


def test_arguments_that_folders_do_not_take_are_refused():
    write('data/train/cat/0.png')
    write('data/train/cat/0.jpg', 1)
    assert contents(in_folder(input_key='.png;.bmp', download=False)) == [(0, 'cat')]
    assert contents(TimmDataset('data/train', image_mode='L', search_split=False)) == [(1, 'cat'), (0, 'cat')]
    with pytest.raises(ConfigError, match=r"^transform is 'flip', which image folders do not take; leave it out"):
        in_folder(transform='flip')


@pytest.mark.parametrize('opened', [in_folder, in_tar])
@pytest.mark.parametrize('input_key', ['png', '.PNG', 'Png;bmp', ' png ; .bmp', ['png', '.bmp'], ('.png',)])
def test_input_key_is_accepted_in_any_form(opened, input_key):
    write('data/train/cat/0.png')
    write('data/train/cat/1.PNG', 1)
    write('data/train/cat/2.jpg', 2)
    assert contents(opened(input_key=input_key)) == [(0, 'cat'), (1, 'cat')]


@pytest.mark.parametrize('opened', [in_folder, in_tar])
def test_input_key_that_no_file_has_is_reported(opened):
    for name in ('0.png', '1.png', '2.jpg'):
        write(f'data/train/cat/{name}')
    with pytest.raises(
        ConfigError,
        match=r"^input_key is '\.bmp;\.gif', which none of the 3 files has; there is \.png 2, \.jpg 1$",
    ):
        opened(input_key=['bmp', 'GIF'])
    for wrong in (5, ['png', 5], {'png': 1}):
        with pytest.raises(ConfigError, match=r"^input_key must be like '\.png;\.jpg', or a list of extensions, got "):
            opened(input_key=wrong)


def test_input_key_is_not_blamed_for_images_outside_of_class_folders():
    write('data/train/0.png')
    write('data/train/0.jpg')
    with pytest.raises(ConfigError, match=r"Found 0 images .*; images skipped, outside of class folders: 1 \('0\.png'"):
        in_folder(input_key='png')


@pytest.mark.parametrize('opened', [in_folder, in_tar])
def test_multi_picture_jpegs_are_images(opened, warned):
    Path('data/train/cat').mkdir(parents=True)
    views = [Image.new('L', (8, 8), grey) for grey in (40, 200)]
    views[0].save('data/train/cat/0.mpo', save_all=True, append_images=views[1:])
    assert contents(opened()) == [(40, 'cat')] and not warned


@pytest.mark.parametrize('opened', [in_folder, in_tar])
def test_metadata_of_macos_and_synology_is_hidden(opened, warned):
    write('data/train/cat/0.png', 1)
    write('data/train/__MACOSX/cat/0.png', 9)
    write('data/train/cat/@eaDir/0.png/thumbnail.png', 9)
    write('data/__MACOSX/train/cat/0.png', 9)
    dataset = opened()
    assert contents(dataset) == [(1, 'cat')] and dataset.metainfo == {'classes': ['cat']} and not warned


def test_tar_without_splits_warns_that_it_is_used_whole(warned):
    write('data/cat/0.png', 1)
    write('data/dog/0.png', 2)
    for split in ('train', 'val'):
        assert contents(in_tar(split=split)) == [(1, 'cat'), (2, 'dog')]
    assert warned == [
        f"'data.tar': it has no folder '{split}', so all of its images are used as that split"
        for split in ('train', 'val')
    ]
    warned.clear()
    in_tar(split='')
    in_tar(search_split=False)
    assert not warned


@pytest.mark.parametrize('splits', [['train'], ['Test', 'train']])
def test_split_missing_from_a_tar_of_splits_is_refused(splits):
    for split in splits:
        write(f'data/{split}/cat/0.png')
        write(f'data/{split}/dog/0.png')
    Path('data/README.txt').write_text('no folder')
    message = rf"^split is 'val', but 'data\.tar' has no folder 'val'; there is {', '.join(splits)}$"
    with pytest.raises(ConfigError, match=message):
        in_tar(split='val')
    assert [name for _, name in contents(in_tar(split='train'))] == ['cat', 'dog']


def test_torchvisions_name_for_folders_does_not_fall_back_to_the_root():
    write('data/train/cat/0.png', 5)
    assert contents(in_folder(name='torch/image_folder')) == [(5, 'cat')]
    with pytest.raises(ConfigError, match=r"^split is 'val', but 'data' has no such subfolder"):
        in_folder(name='torch/image_folder', split='val')


def test_file_that_is_not_a_tar_is_refused():
    Path('data.zip').write_bytes(b'PK')
    with pytest.raises(ConfigError, match=r"^root 'data\.zip' is neither a folder nor a \.tar; unpack it"):
        TimmDataset('data.zip')
    Path('data.tar').write_bytes(b'PK')
    with pytest.raises(ConfigError, match=r"^root 'data\.tar' cannot be opened as 'folder': "):
        TimmDataset('data.tar')


def test_tar_may_contain_tars_and_links():
    def png(grey):
        file = io.BytesIO()
        Image.new('L', (4, 4), grey).save(file, 'png')
        return file.getvalue()

    def add(tar, name, data=b'', kind=tarfile.REGTYPE, target=''):
        info = tarfile.TarInfo(name)
        info.size, info.type, info.linkname = len(data), kind, target
        tar.addfile(info, io.BytesIO(data))

    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode='w') as tar:
        add(tar, 'dog/0.png', png(1))
        add(tar, 'dog/1.png', png(2))
    with tarfile.open('data.tar', 'w') as tar:
        add(tar, './cat/0.png', png(3))
        add(tar, './cat/hard.png', kind=tarfile.LNKTYPE, target='./cat/0.png')
        add(tar, './cat/soft.png', kind=tarfile.SYMTYPE, target='0.png')
        add(tar, './pets.tar', inner.getvalue())
        add(tar, './pets/dangling.png', kind=tarfile.SYMTYPE, target='gone.png')
    dataset = TimmDataset('data.tar', image_mode='L', on_error='skip', cache_mib=0)
    dataset = pickle.loads(pickle.dumps(dataset))  # as for workers that are not forked
    items = [dataset[index] for index in range(6)]
    kept = [(int(item['inputs'][0, 0, 0]), item['targets']) for item in items if 'inputs' in item]
    assert kept == [(3, 0)] * 3 + [(1, 1), (2, 1)] and dataset.metainfo['classes'] == ['cat', 'pets']
    ((name, problem),) = [item['skipped'] for item in items if 'skipped' in item]
    assert name == "'data.tar/pets/dangling.png'" and 'link to a file that is not in the tar' in problem
