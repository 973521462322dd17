"""Tars read to their end, of which Python's tarfile takes any damage for the end."""

import tarfile
from collections.abc import Iterator
from pathlib import Path

from motivation.errors import ArgumentError

_BLOCK = tarfile.BLOCKSIZE

# First bytes of compressed files, which cannot be read at any place.
_COMPRESSED = {b'\x1f\x8b': 'gzip', b'BZh': 'bzip2', b'\xfd7zXZ': 'xz', b'\x28\xb5\x2f\xfd': 'zstd'}


def members_of(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yield the members of an opened tar, and check after the last that the tar ends there.

    A tar ends with blocks of zeros (POSIX, pax interchange format), and nothing follows them.

    Raises:
        tarfile.ReadError: It is cut or damaged, or something follows its end.
    """
    last = ''
    for info in tar:
        last = info.name
        yield info
    assert tar.fileobj is not None
    tar.fileobj.seek(tar.offset)
    place = f'at byte {tar.offset:,}, after {last!r}'
    block = tar.fileobj.read(_BLOCK)
    if len(block) < _BLOCK:
        raise tarfile.ReadError(f'it is cut {place}: the block that ends a tar is missing')
    if any(block):
        raise tarfile.ReadError(f'it is damaged {place}, where neither a header nor the end of the tar is')
    while block := tar.fileobj.read(2**20):
        if block.count(0) < len(block):
            raise tarfile.ReadError(f'it ends {place}, and something follows, which is not read')


def shard_members(shard: Path) -> Iterator[tarfile.TarInfo]:
    """Yield the members of an uncompressed tar file.

    Raises:
        OSError: It cannot be read.
        ArgumentError: It is compressed, cut or damaged; the message names the file and the place.
    """
    with shard.open('rb') as file:
        begin = file.read(8)
    for magic, name in _COMPRESSED.items():
        if begin.startswith(magic):
            raise ArgumentError(
                'root',
                f'holds {str(shard)!r}, which is compressed ({name}), and shards are read at any place: decompress it',
            )
    where = -1
    try:
        with tarfile.open(shard, 'r:') as tar:
            for info in members_of(tar):
                where = info.offset
                yield info
    except tarfile.TarError as error:
        # Errors of tarfile itself, such as 'unexpected end of data', do not say where.
        place = '' if where < 0 or 'byte' in str(error) else f' in the member at byte {where:,} or the one after it'
        raise ArgumentError(
            'root', f'holds {str(shard)!r}, which is not a whole tar: {error}{place}; fetch or write it again'
        ) from error
