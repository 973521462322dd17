import io
import os
from pathlib import Path

import pytest

from motivation.datasets.found_images import find_images
from motivation.errors import ConfigError


@pytest.fixture
def photos():
    for name in ('10.jpg', '2.JPG', 'deep/er/1.png', 'notes.txt', '.hidden.png', '__MACOSX/3.png', 'deep/.git/4.png'):
        path = Path('photos') / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return ['photos/2.JPG', 'photos/10.jpg', 'photos/deep/er/1.png']


def test_folder_stands_for_its_images_at_any_depth_in_natural_order(photos):
    assert find_images(['photos']) == find_images(['photos/']) == photos


def test_links_are_followed_once_and_broken_links_are_images(photos):
    Path('photos/loop').symlink_to('..', target_is_directory=True)
    Path('photos/gone.png').symlink_to('nowhere.png')
    assert find_images(['photos']) == [*photos, 'photos/gone.png']
    assert find_images(['photos/gone.png']) == ['photos/gone.png']


def test_files_stand_for_themselves_in_the_order_given_and_as_often(photos):
    given = ['photos/notes.txt', 'photos/10.jpg', 'photos/notes.txt']
    assert find_images(given) == given


def test_quoted_patterns_match_as_those_of_a_shell_and_find_an_image_once(photos):
    assert find_images(['photos/*.[jJ]*']) == photos[:2]
    assert find_images(['photos/d*/**/*.png']) == photos[2:]
    others = ['photos/notes.txt', 'photos/__MACOSX/3.png']
    assert sorted(find_images(['photos/**'])) == sorted([*photos, *others])
    Path('odd[1].png').touch()
    assert find_images(['odd[1].png']) == ['odd[1].png']


def test_list_has_a_path_a_line_or_between_nul_bytes_and_may_name_what_is_not_there(photos):
    lines = io.BytesIO(b'photos/10.jpg\r\n\nnowhere.jpg\nphotos/deep')
    assert find_images(['-', 'photos/2.JPG'], lines) == [photos[1], 'nowhere.jpg', photos[2], photos[0]]
    assert find_images(['-'], io.BytesIO(b'a\nb.png\0c.png\0')) == ['a\nb.png', 'c.png']


def test_what_is_passed_over_in_folders_is_said_once_in_one_line(photos):
    for name in ('photo', 'deep/photo', 'deep/a.txt', 'deep/er/b.docx'):
        (Path('photos') / name).touch()
    said = []
    expected = 'files skipped, not images: 5 (.txt 2, without extension 2, .docx 1)'
    assert find_images(['photos'], warn=said.append) == photos and said == [expected]
    find_images(['photos', 'photos/deep'], warn=said.append)
    assert said == [expected] * 2
    Path('photos/loop').symlink_to('..', target_is_directory=True)
    find_images(['photos'], warn=said.append)
    assert said[2] == f"{expected}; links not followed, to folders that are read anyway: 1 ('loop')"
    find_images([*photos, 'photos/notes.txt'], warn=said.append)
    find_images(['photos/deep/er/*.png'], warn=said.append)
    assert len(said) == 3


def test_names_that_are_not_in_utf8_are_found_and_open():
    Path('photos').mkdir()
    name = os.fsdecode(b'photos/na\xefve.png')
    Path(name).touch()
    for found in (find_images(['photos']), find_images(['-'], io.BytesIO(os.fsencode(name))), find_images([name])):
        assert found == [name] and Path(found[0]).exists()


def test_nothing_to_predict_is_one_sentence(photos):
    with pytest.raises(
        ConfigError, match=r"^'nowhere\.jpg' does not exist; give image files, folders or patterns such"
    ):
        find_images(['photos', 'nowhere.jpg'])
    with pytest.raises(ConfigError, match=r"^'photos/\*\.gif' matches no file; give"):
        find_images(['photos/*.gif'])
    with pytest.raises(ConfigError, match=r'^there are no images in the list on the standard input; give'):
        find_images(['-'], io.BytesIO(b'\n'))
    for path in find_images(['photos']):
        Path(path).unlink()
    with pytest.raises(ConfigError, match=r"^there are no images in 'photos', only other files \(\.txt 1\); give"):
        find_images(['photos'])
