import logging
import warnings

import pytest

from motivation.utils.quiet import quiet_libraries


def test_handlers_and_levels_of_the_root_logger_are_restored_after_an_error():
    root = logging.getLogger()
    before = root.handlers[:], root.level, root.manager.disable
    with pytest.raises(KeyError), quiet_libraries():
        root.addHandler(logging.StreamHandler())
        root.setLevel(logging.DEBUG)
        raise KeyError
    assert (root.handlers, root.level, root.manager.disable) == before


def test_warnings_are_silenced_and_errors_are_not(caplog, recwarn):
    with quiet_libraries():
        warnings.warn('of interest to developers', stacklevel=1)
        logging.getLogger('library').warning('deprecated')
        logging.getLogger('library').error('failed')
    assert [record.message for record in caplog.records] == ['failed']
    assert not recwarn.list
