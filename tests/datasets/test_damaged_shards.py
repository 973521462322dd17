import gzip
import io
import json
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from motivation.datasets import TimmDataset
from motivation.errors import ConfigError


def image(file_format='PNG', level=0):
    file = io.BytesIO()
    Image.new('L', (8, 8), level).save(file, file_format)
    return file.getvalue()


def write(*members, path='s/a.tar'):
    """Write a shard of members given as name and bytes, and return its places after each member."""
    Path(path).parent.mkdir(exist_ok=True)
    places = []
    with tarfile.open(path, 'w') as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
            places.append(tar.offset)
    return places


def samples(count, label='cls', make=lambda number: str(number % 3).encode()):
    pairs = [((f'{number}.png', image()), (f'{number}.{label}', make(number))) for number in range(count)]
    return [member for pair in pairs for member in pair]


def opened(**options):
    return TimmDataset('s', 'wds', 'a.tar', image_mode='L', **options)


def labels(dataset):
    return [dataset[index].get('targets', 'skipped') for index in range(len(dataset))]


@pytest.mark.parametrize(
    ('members', 'message'),
    [
        (
            [('0.jpg', image('JPEG')), ('0.cls', b'0'), ('0.png', image()), ('0.cls', b'1')],
            r"two samples have the key '0' \('0\.cls' comes again\); give each a key of its own$",
        ),
        ([*samples(2), *samples(1)], r"two samples have the key '0' \('0\.png' comes again\)"),
        (
            [('0.JPG', image('JPEG')), ('0.png', image()), ('0.cls', b'0')],
            r"the sample '0' has several images, 'JPG', 'png'; say which counts, as in input_key='JPG', or give",
        ),
    ],
)
def test_image_is_never_paired_with_the_label_of_another(members, message):
    write(*members)
    with pytest.raises(ConfigError, match=rf"^root holds 's/a\.tar', in which {message}"):
        opened()


def test_one_of_two_images_is_chosen_by_its_extension():
    write(('0.jpg', image('JPEG', 9)), ('0.png', image('PNG', 7)), ('0.seg.png', image('PNG', 5)), ('0.cls', b'0'))
    assert opened(input_key='png')[0]['inputs'].unique().tolist() == [7]


def test_shard_cut_between_members_is_refused_with_the_place():
    place = write(*samples(4))[5]
    data = Path('s/a.tar').read_bytes()
    Path('s/a.tar').write_bytes(data[:place])
    with pytest.raises(
        ConfigError,
        match=rf"^root holds 's/a\.tar', which is not a whole tar: it is cut at byte {place:,}, after '2\.cls': the block that "
        'ends a tar is missing; fetch or write it again$',
    ):
        opened()
    Path('s/a.tar').write_bytes(data[: place - 300])
    with pytest.raises(
        ConfigError, match=r"^root holds 's/a\.tar', which is .*: unexpected end of data in the member at b"
    ):
        opened()


def test_header_that_is_damaged_does_not_end_a_shard():
    place = write(*samples(4))[5]
    data = bytearray(Path('s/a.tar').read_bytes())
    data[place + 10] ^= 255
    Path('s/a.tar').write_bytes(data)
    with pytest.raises(
        ConfigError, match=rf"^root holds 's/a\.tar', .* it is damaged at byte {place:,}, after '2\.cls', "
    ):
        opened()


def test_shards_joined_into_one_file_are_refused_and_not_read_by_half():
    write(*samples(2))
    data = Path('s/a.tar').read_bytes()
    Path('s/a.tar').write_bytes(data + data)
    with pytest.raises(
        ConfigError, match=r"it ends at byte 4,096, after '1\.cls', and something follows, which is not"
    ):
        opened()
    Path('s/a.tar').write_bytes(data[: 4096 + 512])  # one block of zeros is lost, but no sample
    assert len(opened()) == 2


def test_damaged_tar_of_folders_is_refused_too():
    place = write(('train/a/0.png', image()), ('train/b/1.png', image()), ('train/b/2.png', image()))[1]
    Path('s/a.tar').write_bytes(Path('s/a.tar').read_bytes()[:place])
    with pytest.raises(
        ConfigError, match=rf"^root 's/a\.tar' cannot be opened as 'folder': it is cut at byte {place:,}"
    ):
        TimmDataset('s/a.tar')


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda data: b'', 'is not a whole tar: empty file; fetch or write it again$'),
        (lambda data: b'x' * 2048, 'is not a whole tar: '),
        (gzip.compress, r'is compressed \(gzip\), and shards are read at any place: decompress it$'),
    ],
)
def test_file_that_is_no_tar_is_named(change, message):
    write(*samples(2))
    Path('s/a.tar').write_bytes(change(Path('s/a.tar').read_bytes()))
    with pytest.raises(ConfigError, match=rf"^root holds 's/a\.tar', which {message}"):
        opened()


@pytest.mark.parametrize('label', ['2.7', 'true', '"1"', 'null'])
def test_label_that_is_no_integer_is_not_taken_for_one(label):
    write(*samples(2, 'json', lambda number: f'{{"label": {label if number else 0}}}'.encode()))
    with pytest.raises(ConfigError, match=r"the label of 's/a\.tar/1' is no class index, an integer: b'\{\"label\": "):
        opened(target_key='label')


def test_field_of_the_label_is_found_by_the_message():
    write(*samples(3, 'json', lambda number: json.dumps({'label': number, 'name': 'x'}).encode()))
    with pytest.raises(
        ConfigError, match=r"^target_key is left out, and labels are in JSON.* \('label', 'name'\) holds the"
    ):
        opened()
    with pytest.raises(
        ConfigError, match=r"^target_key is 'fine', which the JSON file of 's/a\.tar/0' lacks; there is lab"
    ):
        opened(target_key='fine')
    assert labels(opened(target_key='label')) == [0, 1, 2]


@pytest.mark.parametrize('cache_mib', [0, 1024])
def test_label_beyond_num_classes_is_a_bad_image_and_a_missing_class_keeps_its_number(cache_mib):
    write(*samples(3))
    dataset = opened(num_classes=2, on_error='skip', cache_mib=cache_mib)
    assert labels(dataset) == [0, 1, 'skipped']
    assert dataset[2]['skipped'] == ("'s/a.tar/2'", 'has the label 2, but num_classes is 2')
    assert opened(num_classes=5).metainfo['classes'] == ['0', '1', '2', '3', '4']
    with pytest.raises(ConfigError, match=r"^'s/a\.tar/2' has the label 2, but num_classes is 2; fix"):
        opened(num_classes=2, cache_mib=cache_mib)[2]
    with pytest.raises(ConfigError, match=r'^num_classes must be at least 1 or None, got 0$'):
        opened(num_classes=0)
