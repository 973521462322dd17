import platform

from motivation.utils import processor
from motivation.utils.processor import processor_name


def test_name_is_that_of_the_description_or_the_architecture(tmp_path, monkeypatch):
    path = tmp_path / 'cpuinfo'
    path.write_text(
        'processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\n\nprocessor\t: 1\nmodel name\t: Some CPU @ 2 GHz\n'
    )
    monkeypatch.setattr(processor, '_DESCRIPTION', path)
    assert processor_name() == 'Some CPU @ 2 GHz'
    path.unlink()
    assert processor_name() == (platform.processor() or platform.machine())
