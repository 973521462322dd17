import os
import pickle

from motivation.utils.native_messages import NativeMessages


def test_lines_are_collected_while_it_lasts_and_no_longer(capfd):
    messages = NativeMessages()
    for text in ('one\ntwo\n', 'three'):  # an earlier call leaves nothing
        with messages.collected() as lines:
            os.write(2, text.encode())
        assert lines == text.splitlines()
    with messages.collected() as lines:
        pass
    os.write(2, b'usual')
    assert lines == [] and capfd.readouterr().err == 'usual'


def test_standard_error_is_given_back_after_an_exception(capfd):
    try:
        with NativeMessages().collected():
            raise KeyError
    except KeyError:
        os.write(2, b'usual')
    assert capfd.readouterr().err == 'usual'


def test_second_collection_within_the_first_changes_nothing(capfd):
    messages = NativeMessages()
    with messages.collected() as outer, messages.collected() as inner:
        os.write(2, b'text\n')
    assert (outer, inner) == (['text'], []) and capfd.readouterr().err == ''


def test_forked_process_collects_its_own_lines(capfd):
    messages = pickle.loads(pickle.dumps(NativeMessages()))
    with messages.collected():
        os.write(2, b'parent\n')
    child = os.fork()
    if not child:
        with messages.collected() as lines:
            os.write(2, b'child\n')
        os._exit(lines != ['child'])
    assert os.waitpid(child, 0)[1] == 0
    with messages.collected() as lines:
        os.write(2, b'again\n')
    assert lines == ['again']
