"""What a header refers to is an input as well: written by the libraries that write such files."""

import meshio
import numpy as np
import pytest
import SimpleITK as sitk

from hifuflow.formats.side_files import source_sha256, with_side_files


def names(path):
    return [file.rsplit("/", 1)[1] for file in with_side_files(path)]


def image(n=4):
    return sitk.GetImageFromArray(np.arange(n**3, dtype=np.int16).reshape(n, n, n))


@pytest.mark.parametrize("header, compressed, data", [
    ("m.mhd", False, "m.raw"), ("m.mhd", True, "m.zraw"), ("m.nhdr", False, "m.raw"),
    ("m.nhdr", True, "m.raw.gz"), ("m.hdr", False, "m.img"), ("m.mha", False, None),
    ("m.nrrd", True, None), ("m.nii.gz", True, None)])
def test_detached_voxels(tmp_path, header, compressed, data):
    sitk.WriteImage(image(), str(tmp_path / header), compressed)
    assert names(tmp_path / header) == [header] + [data] * (data is not None)


def test_arrays_of_an_xdmf_mesh(tmp_path):
    mesh = meshio.Mesh(np.eye(4, 3), [("tetra", [[0, 1, 2, 3]])], cell_data={"r": [[1]]})
    meshio.xdmf.write(str(tmp_path / "m.xdmf"), mesh)
    assert names(tmp_path / "m.xdmf") == ["m.xdmf", "m.h5"]
    meshio.xdmf.write(str(tmp_path / "text.xdmf"), mesh, data_format="XML")
    assert names(tmp_path / "text.xdmf") == ["text.xdmf"]


@pytest.mark.parametrize("field, files", [
    ("ElementDataFile = s%02d.raw 1 3 1", ["s01.raw", "s02.raw", "s03.raw"]),
    ("data file: s%02d.raw 1 3 2", ["s01.raw", "s03.raw"]),
    ("ElementDataFile = LIST\ns03.raw\ns01.raw", ["s03.raw", "s01.raw"]),
    ("data file: LIST\ns02.raw\n", ["s02.raw"]), ("ElementDataFile = LOCAL", []),
    ("ElementDataFile = nowhere.raw", []), ("ElementDataFile = %s%d 1 2 1", []),
    ("ElementDataFile = \0" + 5000 * "x", []), ("", [])])
def test_lists_series_and_nonsense(tmp_path, field, files):
    for k in (1, 2, 3):
        (tmp_path / f"s{k:02d}.raw").write_bytes(b"")
    header = tmp_path / ("m.mhd" if "Element" in field else "m.nhdr")
    header.write_text(field)
    assert names(header) == [header.name, *files]


def test_a_folder_is_all_its_files(tmp_path):
    for name in ("b.dcm", "a.dcm"):
        (tmp_path / name).write_bytes(name.encode())
    assert names(tmp_path)[1:] == ["a.dcm", "b.dcm"]


def test_the_hash_covers_the_voxels(tmp_path):
    sitk.WriteImage(image(), str(tmp_path / "m.mhd"))
    before = source_sha256(tmp_path / "m.mhd")
    assert source_sha256(tmp_path / "m.mhd") == before
    sitk.WriteImage(image() + 1, str(tmp_path / "m.mhd"))
    assert source_sha256(tmp_path / "m.mhd") != before
