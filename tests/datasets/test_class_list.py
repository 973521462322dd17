"""One list of class names for several data sets."""

import tarfile
from pathlib import Path

import pytest
from PIL import Image

from motivation.datasets import TimmDataset, labels_of
from motivation.datasets.class_list import class_difference, read_classes, renumber
from motivation.errors import ConfigError


def write(split, *classes):
    for name in classes:
        Path('data', split, name).mkdir(parents=True, exist_ok=True)
        Image.new('L', (8, 8)).save(Path('data', split, name, '0.png'))


@pytest.mark.parametrize('cache_mib', [0, 64])
@pytest.mark.parametrize('form', ['folder', 'file', 'list', 'tar'])
def test_split_that_lacks_a_class_is_numbered_as_in_training(form, cache_mib):
    write('train', 'cat', 'dog', 'fox 2', 'fox 10')
    write('val', 'dog', 'fox 10')
    train = TimmDataset('data')
    assert train.metainfo['classes'] == ['cat', 'dog', 'fox 2', 'fox 10']
    Path('classes.txt').write_bytes('\ufeffcat\r\ndog\r\nfox 2\r\nfox 10\r\n\r\n'.encode())
    lists = dict(folder='data/train', file='classes.txt', list=train.metainfo['classes'], tar='data/train')
    root = 'data'
    if form == 'tar':
        root = 'data.tar'
        with tarfile.open(root, 'w') as tar:
            tar.add('data')
    val = TimmDataset(root, split='val', classes=lists[form], cache_mib=cache_mib)
    assert val.metainfo == train.metainfo
    assert [val[0]['targets'], val[1]['targets']] == labels_of(val).tolist() == [1, 3]


def test_classes_of_a_folder_that_the_list_lacks_are_named():
    write('val', 'cat', 'dgo', 'fox')
    with pytest.raises(
        ConfigError, match=r"^classes lacks 'dgo', 1 of the 3 classes of 'data'; add .*did you mean 'dog'"
    ):
        TimmDataset('data', split='val', classes=['cat', 'dog', 'fox'])


def test_numbers_are_found_by_name_or_are_indices():
    assert renumber(['0', '1'], ['1', '0', '2'], 'data') == [1, 0]
    assert renumber(['0', '1'], ['cat', 'dog', 'fox'], 'data') == [0, 1]
    with pytest.raises(ConfigError, match="lacks '1', '2', 2 of the 2 classes"):
        renumber(['1', '2'], ['cat', 'dog', 'fox'], 'data')


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'cat\n\ndog', r"classes has a blank name \('classes.txt', line 2\); remove it"),
        (b'cat\ndog\n cat', r"classes has the name 'cat' twice \('classes.txt', line 1, 'classes.txt', line 3\)"),
        (b'\n', 'classes has no names; give a list of names, a file with one a line, or a folder'),
        (b'\xff', "classes is 'classes.txt', which is not in UTF-8"),
        (None, "classes is 'classes.txt', which cannot be read .No such file or directory.; give a list"),
    ],
)
def test_invalid_list_is_reported_with_its_line(content, message):
    if content is not None:
        Path('classes.txt').write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        read_classes('classes.txt')


def test_differences_of_lists_are_named():
    assert class_difference(['a', 'e\u0301'], ['a', '\u00e9'], 'A', 'B') == ''
    assert class_difference(['a', 'b'], ['b', 'a'], 'A', 'B') == "class 0 is 'a' in A and 'b' in B"
    assert class_difference(['a', 'b'], ['a', 'c'], 'A', 'B') == (
        "class 1 is 'b' in A and 'c' in B, which lacks 'b' and has 'c' more"
    )
    assert class_difference(['a'], ['a', 'c'], 'A', 'B') == "class 1 is absent in A and 'c' in B, which has 'c' more"
