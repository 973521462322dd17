"""A config that caches its text."""

from functools import lru_cache

from mmengine.config import Config
from mmengine.config.config import ConfigDict


class RunConfig(Config):
    """MMEngine's config with a cached text.

    A run asks for the text four times when it starts and for every checkpoint, and a comparison for that of every run;
    formatting takes half a second. Fields are cached one by one, because the runs of a comparison share most of them.
    """

    @classmethod
    def of(cls, config: Config, filename: str | None) -> 'RunConfig':
        """Return a config that shares the contents of another, under the name of its file."""
        copy = cls.__new__(cls)
        content, _, *others = config.__getstate__()
        copy.__setstate__((content, filename, *others))
        return copy

    @property
    def pretty_text(self) -> str:
        """The config as a Python file."""
        content, _, *others = self.__getstate__()
        fields = []
        for name, value in sorted(content.items()):
            field = RunConfig.__new__(RunConfig)
            field.__setstate__((ConfigDict({name: value}), None, *others))
            fields.append(_format(_Key(field)))
        return ''.join(fields)


class _Key:
    """A config as a cache key, compared by its contents."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.content = repr((config._cfg_dict, config._format_python_code))

    def __hash__(self) -> int:
        return hash(self.content)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and self.content == other.content


@lru_cache(maxsize=4096)
def _format(key: _Key) -> str:
    return Config.pretty_text.fget(key.config).rstrip('\n') + '\n'
