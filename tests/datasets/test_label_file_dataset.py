"""Images with labels from CSV, TSV and JSON lines files."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from motivation.datasets import DeviceImages, LabelFileDataset, collate_images, labels_of
from motivation.datasets.image_dataset import TensorImages
from motivation.errors import ConfigError

ROWS = [('a/0.png', 'dog'), ('1.png', 'cat'), ('2.png', 'dog')]


@pytest.fixture(autouse=True)
def warned(monkeypatch):
    for grey, name in enumerate(('a/0.png', '1.png', '2.png')):
        path = Path('images', name)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new('L', (8, 8), grey).save(path)
    said = []
    monkeypatch.setattr('motivation.datasets.label_file_dataset.print_log', lambda message, *_: said.append(message))
    return said


def listed(text, name='labels.csv', **fields):
    Path(name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return LabelFileDataset(name, **{'root': 'images', 'image_mode': 'L', **fields})


def contents(dataset):
    """Return the grey level of every image and its class names."""
    found = []
    for item in (dataset[index] for index in range(len(dataset))):
        target, classes = item['targets'], dataset.metainfo['classes']
        names = [classes[target]] if isinstance(target, int) else [classes[i] for i in target.nonzero().flatten()]
        found.append((int(item['inputs'][0, 0, 0]), *names))
    return found


TABLE = 'path,label\na/0.png,dog\n1.png,cat\n2.png,dog\n'


@pytest.mark.parametrize(
    ('name', 'text'),
    [
        ('labels.csv', TABLE),
        ('labels.csv', b'\xef\xbb\xbf' + TABLE.replace('\n', '\r\n').encode()),
        ('labels.csv', TABLE.replace(',', ';') + '\n'),
        ('labels.csv', TABLE.replace('\n', '\r')),
        ('labels.csv', 'label, path ,note\n"dog", a/0.png,"two\nlines, and ""more"""\n\ncat,1.png,\n dog,2.png,x'),
        ('labels.tsv', TABLE.replace(',', '\t')),
        ('labels.jsonl', ''.join(json.dumps({'path': path, 'label': label}) + '\n' for path, label in ROWS)),
    ],
)
@pytest.mark.parametrize('cache_mib', [0, 64])
def test_forms_of_files_give_the_same_images(name, text, cache_mib, warned):
    dataset = listed(text, name, cache_mib=cache_mib)
    assert contents(dataset) == [(0, 'dog'), (1, 'cat'), (2, 'dog')]
    assert dataset.metainfo == {'classes': ['cat', 'dog']} and not warned
    assert labels_of(dataset).tolist() == [1, 0, 1]
    assert isinstance(dataset.source, TensorImages) == bool(cache_mib)


SEVERAL = [(0, 'cat', 'dog'), (1,), (2, 'dog')]


@pytest.mark.parametrize(
    ('name', 'text', 'fields'),
    [
        ('labels.csv', 'path,label\na/0.png,dog;cat\n1.png,\n2.png,dog', {}),
        ('labels.csv', 'path,tags\na/0.png,cat dog\n1.png,\n2.png,dog', dict(separator=' ', label_column='tags')),
        ('labels.csv', 'path,dog,cat\na/0.png,1,1\n1.png,0,0\n2.png,1.0,False', dict(label_columns=['cat', 'dog'])),
        (
            'labels.jsonl',
            '{"path": "a/0.png", "label": ["dog", "cat"]}\n{"path": "1.png", "label": []}\n{"path": "2.png", "label": "dog"}',
            {},
        ),
    ],
)
@pytest.mark.parametrize('cache_mib', [0, 64])
def test_several_labels_are_rows_of_0_and_1(name, text, fields, cache_mib):
    dataset = listed(text, name, several_labels=True, cache_mib=cache_mib, **fields)
    assert contents(dataset) == SEVERAL
    assert dataset.metainfo == {'classes': ['cat', 'dog'], 'several_labels': True}
    rows = torch.tensor([[1.0, 1.0], [0.0, 0.0], [0.0, 1.0]])
    assert torch.equal(labels_of(dataset), rows)
    batch = collate_images([dataset[index] for index in range(3)])
    assert torch.equal(batch['targets'], rows) and batch['targets'].dtype == torch.float32
    on_device = DeviceImages(dataset, {}, 'cpu')
    on_device.load()
    assert torch.equal(on_device.__getitems__([2, 0])['targets'], rows[[2, 0]])
    dataset[0]['targets'].fill_(7)
    assert torch.equal(dataset[0]['targets'], rows[0])


def test_images_without_any_of_several_labels_are_counted(warned):
    listed('path,label\na/0.png,dog;cat\n1.png,\n2.png,', several_labels=True)
    assert warned == ["'labels.csv': images without a label: 2 (line 3, ...)"]


def test_one_column_a_class_with_one_label_gives_indices():
    dataset = listed('path,dog,cat\na/0.png,1,0\n1.png,0,1\n2.png,1,0', label_columns=['cat', 'dog'])
    assert contents(dataset) == [(0, 'dog'), (1, 'cat'), (2, 'dog')]
    with pytest.raises(ConfigError, match=r"'labels.csv', line 3: has 2 labels; give each image one, or write several"):
        listed('path,dog,cat\na/0.png,1,0\n1.png,1,1', label_columns=['cat', 'dog'])


SPLITS = 'path,label,split\na/0.png,dog,train\n1.png,cat,train\n2.png,dog,val\n'


def test_splits_of_one_file_number_classes_alike():
    train, val = (listed(SPLITS, split=split) for split in ('train', 'val'))
    assert contents(train) == [(0, 'dog'), (1, 'cat')] and contents(val) == [(2, 'dog')]
    assert train.metainfo == val.metainfo
    assert len(listed(SPLITS, split_column=None)) == 3
    with pytest.raises(
        ConfigError, match=r"^split is left out, and 'labels.csv' has a column 'split' \('train' 2, 'val' 1\)"
    ):
        listed(SPLITS)
    with pytest.raises(
        ConfigError, match=r"^split is 'test', and column 'split' of 'labels.csv' has only 'train' 2, 'val' 1"
    ):
        listed(SPLITS, split='test')
    with pytest.raises(ConfigError, match=r"^split_column is 'split', and 'labels.csv' has no such column"):
        listed(TABLE, split='train')


def test_class_list_decides_the_numbers_of_classes(warned):
    Path('classes.txt').write_bytes(b'\xef\xbb\xbffox\r\ndog\r\ncat\r\n')
    dataset = listed(TABLE, classes='classes.txt')
    assert dataset.metainfo['classes'] == ['fox', 'dog', 'cat'] and labels_of(dataset).tolist() == [1, 2, 1]
    assert warned == ["'labels.csv': classes without images: 1 ('fox')"]
    numbers = listed('path,label\na/0.png,1\n1.png,0', classes=['dog', 'cat'])
    assert contents(numbers) == [(0, 'cat'), (1, 'dog')]


@pytest.mark.parametrize(
    ('text', 'fields', 'message'),
    [
        ('path,label\na/0.png,dgo', dict(classes=['cat', 'dog']), "'labels.csv', line 2: label 'dgo' is none of the 2 classes; did you mean 'dog'"),
        ('path,label\na/0.png,dog\n\n1.png,', {}, "'labels.csv', line 4: label is empty; give the image a label"),
        ('path,label\na/0.png,dog\nb.png,dog\nc.png,dog', {}, "'labels.csv', line 3: the image 'images/b.png' does not exist, nor do 1 others"),
        ('path,label\na/0.png,dog\n./a/0.png,cat', {}, "line 3: 'images/a/0.png' has other labels than in line 2"),
        ('path,label\na/0.png,dog,1', {}, 'line 2: has 3 cells, and the header 2'),
        ('path,label\n"a/0.png,dog\n1.png,cat', {}, 'line 2: is not CSV .*quotation mark'),
        ('path,label\n1.png,cat\na\xe9.png,cat'.encode('latin-1'), {}, 'line 3: is not in UTF-8; save the file as UTF-8'),
        ('file,label\na/0.png,dog', {}, "path_column is 'path', and the first line of 'labels.csv' has no such column; there is file, label"),
        ('path,Label\na/0.png,dog', {}, "label_column is 'label', and 'labels.csv' has no such column; did you mean 'Label'"),
        ('path,dog\na/0.png,2', dict(label_columns=['dog']), "line 2: dog must be 0 or 1, got '2'"),
        ('path,dog\na/0.png,1', dict(label_columns=['cat']), "label_columns is 'cat', and 'labels.csv' has no such column"),
        ('path,label,label\na/0.png,1,2', {}, "has two columns 'label'"),
        ('path,label\n', {}, 'has no rows'),
        (TABLE, dict(file='other.csv'), "file 'other.csv' cannot be read .No such file"),
        (TABLE, dict(file='labels.xls'), "file is 'labels.xls', whose name must end with .csv, .tsv"),
        (TABLE, dict(classes=['cat', 'dog', 'cat']), "classes has the name 'cat' twice"),
        (TABLE, dict(separator=''), 'separator must be'),
    ],
)  # fmt: skip
def test_mistakes_are_reported_with_their_line(text, fields, message):
    Path('labels.csv').write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError, match=message):
        LabelFileDataset(**{'file': 'labels.csv', 'root': 'images', **fields})


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ('{"path": "1.png", "label": ["a", "b"]}', r"line 2: label is a list, \['a', 'b'\]; write several_labels=True"),
        ('{"path": "1.png", "label": 1.5}', 'line 2: label is 1.5, which is neither text nor a whole number'),
        ('{"path": "1.png"}', 'line 2: label is empty'),
        ('{"file": "1.png", "label": 1}', "path_column is 'path', and 'labels.jsonl', line 2: has no such field"),
        ('{"path": 3, "label": 1}', 'line 2: path must be a path, got 3'),
        ('["1.png", 1]', r"line 2: is \['1.png', 1\]; write one object a line"),
        ('{"path": ', 'line 2: is not JSON'),
    ],
)
def test_mistakes_in_json_are_reported_with_their_line(line, message):
    with pytest.raises(ConfigError, match=message):
        listed('{"path": "a/0.png", "label": 1}\n' + line, 'labels.jsonl')


def test_image_listed_twice_is_counted(warned):
    assert len(listed('path,label\n1.png,cat\na/../1.png,cat')) == 2
    assert warned == ["'labels.csv': images listed more than once: 1 ('images/1.png')"]


@pytest.mark.parametrize('cache_mib', [0, 64])
def test_missing_images_are_skipped_if_asked_for(cache_mib, warned):
    dataset = listed('path,label\nnone.png,dog\n1.png,cat', on_error='skip', cache_mib=cache_mib)
    assert warned == ["'labels.csv': images that do not exist: 1 ('images/none.png')"]
    batch = collate_images([dataset[0], dataset[1]])
    assert batch['targets'].tolist() == [0] and "'images/none.png'" in batch.skipped[0][0]
