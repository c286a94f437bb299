"""Compressed voxels, read to their last byte: the checksum behind them tells that they are whole.

Libraries that stop at the last voxel never see it, and a damaged file then reads as another map.
"""

from __future__ import annotations

import bz2
import gzip
import zlib

from hifuflow.errors import InputError

GZIP, BZIP2, ZLIB = "gzip", "bzip2", "zlib"
MAGIC = {b"\x1f\x8b": GZIP, b"BZh": BZIP2}


def compression(path) -> str | None:
    """How a file is compressed, by its first bytes; None: it is not."""
    with open(path, "rb") as stream:
        start = stream.read(3)
    return next((kind for magic, kind in MAGIC.items() if start.startswith(magic)), None)


def inflated(stream, kind: str, most: int, fault: dict) -> bytes:
    """All that a binary stream holds from where it stands, decompressed and verified.

    Parameters
    ----------
    kind : `GZIP` (RFC 1952: CRC-32 and length of every member), `BZIP2` (CRC-32 of every block) or
        `ZLIB` (RFC 1950: Adler-32).
    most : bytes that the header accounts for; a stream that yields more is refused.
    fault : ``file`` and ``key`` for errors.

    Raises
    ------
    InputError : the stream is damaged, cut short or too long.
    """
    try:
        if kind == ZLIB:
            content = _zlib(stream.read(), most)
        else:
            opened = gzip.GzipFile(fileobj=stream) if kind == GZIP else bz2.BZ2File(stream)
            content = opened.read(most + 1)  # one byte more: only the end is verified
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise InputError(f"not a readable image: its {kind} stream is damaged: "
                         f"{str(error).strip().rstrip('.')}", **fault,
                         allowed="an undamaged copy of the file") from error
    if len(content) > most:
        raise InputError(f"its {kind} stream holds more than the {most} bytes that the header "
                         "tells of", **fault, allowed="voxels that fit their header")
    return content


def _zlib(data: bytes, most: int) -> bytes:
    stream = zlib.decompressobj()
    content = stream.decompress(data, most + 1)
    if len(content) <= most and not stream.eof:
        raise EOFError("it ends before its checksum")
    return content


def fitting(content: bytes, size: int, slack: int, fault: dict) -> bytes:
    """The `size` bytes of voxels that the header tells of.

    Up to `slack` bytes more are padding; more than that is an image of another shape.

    Raises
    ------
    InputError : there are too few or too many bytes.
    """
    if not size <= len(content) < size + max(slack, 1):
        raise InputError(f"holds {len(content)} bytes of voxels where its header tells of {size}",
                         **fault, allowed="voxels that fit their header")
    return content[:size]
