"""A damaged compressed file is refused or reads as it was: its checksum is read to the end."""

import bz2
import gzip
import subprocess

import nibabel as nib
import numpy as np
import pytest
from patient_maps import AFFINE, NAMES, block, write_itk, write_nifti

from hifuflow.errors import InputError
from hifuflow.formats.images import open_image

FLIPS = 40


def bzip2_nrrd(path):
    write_itk(path, block(), AFFINE)
    header, _, packed = path.read_bytes().partition(b"\n\n")
    path.write_bytes(header.replace(b"encoding: gzip", b"encoding: bzip2") + b"\n\n"
                     + bz2.compress(gzip.decompress(packed)))


def mgz(path):
    nib.save(nib.MGHImage(block().astype(np.int32), AFFINE.astype(np.float32)), path)


WRITERS = {"m.nii.gz": lambda path: write_nifti(path, block(), AFFINE, NAMES), "m.mgz": mgz,
           "m.nrrd": lambda path: write_itk(path, block(), AFFINE),
           "m.seg.nrrd": lambda path: write_itk(path, block(), AFFINE, NAMES),
           "m.mha": lambda path: write_itk(path, block(), AFFINE), "bz2.nrrd": bzip2_nrrd}


def content(path):
    image = open_image(path)
    return image.labels(), image.affine, image.segments


def stream_of(whole: bytes, name: str) -> int:
    """Where the compressed stream begins; a header before it has no checksum."""
    if name.endswith((".gz", ".mgz")):
        return 0
    if name.endswith(".mha"):
        return whole.index(b"LOCAL\n") + 6
    return whole.index(b"\n\n") + 2


def flips(path, number, seed=0):
    """How the file reads after each of many single flipped bits: refused, same or another map."""
    whole = path.read_bytes()
    labels, affine, segments = content(path)
    start = stream_of(whole, path.name)
    places = np.random.default_rng(seed).integers(8 * start, 8 * len(whole), number)
    counts = {"refused": 0, "same": 0, "another": 0}
    for bit in places.tolist():
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            read = content(path)
        except InputError as error:
            assert error.file == path and error.allowed
            counts["refused"] += 1
            continue
        same = (len(read[0]) == len(labels) and read[2] == segments
                and all(map(np.array_equal, read[0], labels)) and np.array_equal(read[1], affine))
        counts["same" if same else "another"] += 1
    path.write_bytes(whole)
    return counts


@pytest.mark.parametrize("name", WRITERS)
def test_no_flipped_bit_makes_another_map(tmp_path, name, capfd):
    WRITERS[name](tmp_path / name)
    counts = flips(tmp_path / name, FLIPS)
    assert counts["another"] == 0 and counts["refused"] > 0.8 * FLIPS
    assert capfd.readouterr().err == ""  # nothing but the error


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("cut", [1, 4, 8, 100])
def test_a_stream_that_is_cut_short_is_refused(tmp_path, name, cut):
    """Also where only the checksum is missing and every voxel is there."""
    WRITERS[name](tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[:-cut])
    with pytest.raises(InputError):
        content(tmp_path / name)


def test_gzip_itself_says_the_same(tmp_path):
    path = tmp_path / "m.nii.gz"
    WRITERS[path.name](path)
    whole, before, faults = path.read_bytes(), content(path), 0
    for bit in np.random.default_rng(1).integers(0, 8 * len(whole), 25).tolist():
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        if subprocess.run(["gzip", "-t", path], capture_output=True).returncode:
            faults += 1
            with pytest.raises(InputError, match="not a readable image"):
                content(path)
        else:  # in the stored file's name or date
            np.testing.assert_array_equal(content(path)[0], before[0])
    assert faults > 15


def test_a_file_of_two_gzip_members_is_whole(tmp_path):
    """RFC 1952 allows it, and pigz and bgzip write it."""
    path = tmp_path / "m.nii.gz"
    WRITERS[path.name](path)
    before = content(path)
    raw = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(raw[:5000]) + gzip.compress(raw[5000:]))
    np.testing.assert_array_equal(content(path)[0], before[0])


def test_a_stream_that_yields_more_than_its_header_tells_is_refused(tmp_path):
    path = tmp_path / "m.nii.gz"
    WRITERS[path.name](path)
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()) + bytes(100_000)))
    with pytest.raises(InputError, match="more than the"):
        content(path)
