"""What a header says of place and size counts; what it does not say is not made up."""

import gzip

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from patient_maps import AFFINE, NAMES, anatomy_of, block, section, turned, write_itk, write_nifti

from hifuflow.errors import InputError
from hifuflow.formats.images import open_image

TURN = np.array([[0.8, 0.6, 0, 3], [-0.6, 0.8, 0, 4], [0, 0, 1, 5], [0, 0, 0, 1.0]])
SHEAR = np.array([[1, 0, 0, 3], [0, 1, 0.2, 4], [0, 0, 1, 5], [0, 0, 0, 1.0]])


def nifti(path, sform=None, qform=None, **fields):
    """NIfTI with (affine, code) of both transforms, and header fields as they are stored."""
    image = nib.Nifti1Image(block(), None)
    image.header.set_xyzt_units("mm", "sec")
    for name, given in (("qform", qform), ("sform", sform)):
        affine, code = given or (None, 0)
        getattr(image, f"set_{name}")(affine, code)
    nib.save(image, path)
    content = bytearray(path.read_bytes())
    header = np.frombuffer(content[:348], nib.Nifti1Header.template_dtype).copy()
    for name, value in fields.items():
        header[name] = value
    content[:348] = header.tobytes()
    path.write_bytes(content)
    return path


def scaled(affine, by):
    return np.diag([by, by, by, 1]) @ affine


AWAY = AFFINE + np.array([[0, 0, 0, 20], [0] * 4, [0] * 4, [0] * 4])


@pytest.mark.parametrize("sform, qform, used", [
    ((AFFINE, 1), (AFFINE, 1), AFFINE), ((AFFINE, 2), None, AFFINE), (None, (AFFINE, 1), AFFINE),
    ((AWAY, 2), (AFFINE, 1), AFFINE),  # registered to another scan
    ((scaled(AFFINE, 1.1), 4), (AFFINE, 1), AFFINE),  # MNI152
    ((AFFINE, 1), (AWAY, 1), AFFINE), ((AFFINE, 1), (AWAY, 2), AFFINE),
    ((AFFINE, 2), (AWAY, 3), AFFINE), ((AFFINE, 5), (AWAY, 2), AFFINE),
    ((SHEAR @ AFFINE, 2), (SHEAR @ AFFINE, 1), SHEAR @ AFFINE),  # a qform holds no shear
])
def test_sform_or_qform(tmp_path, caplog, sform, qform, used):
    image = open_image(nifti(tmp_path / "m.nii", sform, qform))
    np.testing.assert_allclose(image.affine, np.diag([1e-3, 1e-3, 1e-3, 1]) @ used, atol=1e-7)
    apart = sform and qform and not np.array_equal(sform[0], qform[0])
    assert bool(image.record) == (bool(apart) or "0.2" in str(used))
    if apart:
        corners = np.array([[i, j, k, 1] for i in (0, 21) for j in (0, 23) for k in (0, 25)])
        distance = np.linalg.norm(corners @ (sform[0] - qform[0]).T, axis=1).max()
        assert image.record["sform_qform_apart_mm"] == pytest.approx(distance, rel=1e-3)
        assert f"apart; the {image.record['nifti_transform']} is used" in caplog.text


def test_the_patient_file_chooses_the_transform(tmp_path):
    path = nifti(tmp_path / "m.nii", (AWAY, 2), (AFFINE, 1))
    for choice, affine in (("auto", AFFINE), ("qform", AFFINE), ("sform", AWAY)):
        config = section(path)
        config["anatomy"]["nifti_transform"] = choice
        anatomy = anatomy_of(config)
        place = anatomy.position(np.argwhere(anatomy.target_mask)).mean(axis=0) * 1e3
        index = np.append(np.argwhere(block() == 3).mean(axis=0), 1)
        np.testing.assert_allclose(place, (affine @ index)[:3], atol=1e-4)
    only = nifti(tmp_path / "q.nii", None, (AFFINE, 1))
    with pytest.raises(InputError, match=r"has no sform.*auto, qform") as caught:
        open_image(only, nifti_transform="sform")
    assert caught.value.key == "anatomy.nifti_transform"


@pytest.mark.parametrize("fields, words", [
    ({"pixdim": [1, 2, 1.5, 0, 0, 0, 0, 0]}, "no voxel size.*2 x 1.5 x 0"),
    ({"pixdim": [1, 2, -1.5, 1, 0, 0, 0, 0]}, "no voxel size"),
    ({"pixdim": [1, 2, np.nan, 1, 0, 0, 0, 0]}, "no voxel size"),
    ({"pixdim": [-3, 2, 1.5, 1, 0, 0, 0, 0]}, "handedness"),
    ({"quatern_b": 2}, "w2 should be positive"),
    ({"xyzt_units": 5}, "unit of length"), ({"qform_code": 9}, "qform_code is 9"),
    ({"sform_code": -1}, "sform_code is -1"), ({"qform_code": 0}, "no orientation"),
    ({"dim": [3, 22, 24, 20, 1, 1, 1, 1]}, "bytes where its header tells of"),
    ({"dim": [3, 22, 24, 27, 1, 1, 1, 1]}, "not a readable image"),
])
def test_nifti_headers_that_do_not_say_are_refused(tmp_path, fields, words):
    path = nifti(tmp_path / "m.nii", None, (AFFINE, 1), **fields)
    with pytest.raises(InputError, match=words) as caught:
        open_image(path, "anatomy.labels").layers()
    assert caught.value.key == "anatomy.labels"


def test_an_sform_needs_no_pixdim(tmp_path, caplog):
    path = nifti(tmp_path / "m.nii", (AFFINE, 1), (AFFINE, 1), pixdim=[1, 2, 1.5, 0, 0, 0, 0, 0])
    np.testing.assert_allclose(open_image(path).affine[:3] * 1e3, AFFINE[:3], atol=1e-4)
    assert "no voxel size for its qform" in caplog.text
    nifti(tmp_path / "q.nii", (AFFINE, 1), (AFFINE, 1), quatern_b=2)
    np.testing.assert_allclose(open_image(tmp_path / "q.nii").affine[:3] * 1e3, AFFINE[:3])
    assert "no rotation for its qform" in caplog.text
    with pytest.raises(InputError, match="no voxel size"):
        open_image(path, nifti_transform="qform")


@pytest.mark.parametrize("code, metres", [(1, 1.0), (2, 1e-3), (3, 1e-6), (0, 1e-3)])
def test_unit_of_a_nifti_header(tmp_path, caplog, code, metres):
    affine = scaled(AFFINE, 1e-3 / metres)
    with caplog.at_level("INFO", logger="hifuflow"):
        image = open_image(nifti(tmp_path / "m.nii", (affine, 1), None, xyzt_units=code))
    np.testing.assert_allclose(image.spacing, [2e-3, 1.5e-3, 1e-3], rtol=1e-6)
    assert ("no unit of length" in caplog.text) == (code == 0)


@pytest.mark.parametrize("suffix", [".mgh", ".mgz"])
@pytest.mark.parametrize("flag", [1, 0, -1])
def test_freesurfer_volumes_count_with_their_flag_alone(tmp_path, suffix, flag):
    path = tmp_path / f"m{suffix}"
    nib.save(nib.MGHImage(block().astype(np.int32), AFFINE.astype(np.float32)), path)
    opened = gzip.open if suffix == ".mgz" else open
    with opened(path, "rb") as stream:
        content = bytearray(stream.read())
    content[28:30] = flag.to_bytes(2, "big", signed=True)
    with opened(path, "wb") as stream:
        stream.write(content)
    if flag == 1:
        image = open_image(path)
        np.testing.assert_allclose(image.affine[:3] * 1e3, AFFINE[:3], atol=1e-4)
        np.testing.assert_array_equal(image.labels()[0], block())
    else:
        with pytest.raises(InputError, match=f"no orientation.*goodRASFlag is {flag}"):
            open_image(path)


def edit(path, old, new):
    """Replace bytes of a header."""
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))


@pytest.mark.parametrize("name", ["m.mha", "m.mhd"])
@pytest.mark.parametrize("field", ["ElementSpacing", "TransformMatrix", "Offset"])
def test_meta_image_without_its_place_is_refused(tmp_path, name, field):
    write_itk(tmp_path / name, block(), AFFINE)
    edit(tmp_path / name, b"\n" + field.encode(), b"\nOther" + field.encode())
    with pytest.raises(InputError, match=f"no place in the patient: it has no {field}"):
        open_image(tmp_path / name)


def test_other_names_of_the_same_fields(tmp_path):
    write_itk(tmp_path / "m.mha", block(), AFFINE)
    for old, new in ((b"ElementSpacing", b"ElementSize"), (b"Offset", b"Position"),
                     (b"TransformMatrix", b"Orientation")):
        edit(tmp_path / "m.mha", b"\n" + old + b" ", b"\n" + new + b" ")
    np.testing.assert_allclose(sorted(open_image(tmp_path / "m.mha").spacing * 1e3), [1, 1.5, 2])


@pytest.mark.parametrize("unit, metres", [("mm", 1e-3), ("cm", 1e-2), ("um", 1e-6), ("m", 1)])
def test_distance_units_of_a_meta_image(tmp_path, unit, metres):
    write_itk(tmp_path / "m.mha", block(), scaled(AFFINE, 1e-3 / metres))
    edit(tmp_path / "m.mha", b"\nOffset", f"\nDistanceUnits = {unit}\nOffset".encode())
    image = open_image(tmp_path / "m.mha")
    np.testing.assert_allclose(image.affine, np.diag([1e-3, 1e-3, 1e-3, 1]) @ AFFINE, atol=1e-9)
    edit(tmp_path / "m.mha", f"= {unit}\n".encode(), b"= furlong\n")
    with pytest.raises(InputError, match=r"DistanceUnits = furlong.*mm, cm"):
        open_image(tmp_path / "m.mha")


@pytest.mark.parametrize("old, new, words", [
    (b"ElementSpacing = 2 ", b"ElementSpacing = 0 ", "voxels of 0"),
    (b"ElementSpacing = 2 ", b"ElementSpacing = x ", "ElementSpacing"),
    (b"ElementSpacing = 2 1.5 1", b"ElementSpacing = 2 1.5", "3 numbers"),
    (b"MET_SHORT", b"MET_OTHER", "ElementType"), (b"DimSize = 22", b"DimSize = 2x", "DimSize"),
    (b"DimSize = 22", b"DimSize = 21", "more than the|tells of"),
    (b"DimSize = 22", b"DimSize = 29", "tells of"),
    (b"Offset", b"DimSize = 22 24 26\nOffset", "DimSize twice"),
    (b"Offset", b"ElementToIntensityFunctionSlope = 2\nOffset", "FunctionSlope = 2"),
])
@pytest.mark.parametrize("compressed", [False, True])
def test_faulty_meta_images_are_refused(tmp_path, old, new, words, compressed):
    image = sitk.GetImageFromArray(block().transpose(2, 1, 0))
    image.SetSpacing([2, 1.5, 1])
    sitk.WriteImage(image, str(tmp_path / "m.mha"), compressed)
    edit(tmp_path / "m.mha", old, new)
    with pytest.raises(InputError, match=words):
        open_image(tmp_path / "m.mha").layers()


NUMBERS = [np.uint8, np.int8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.float32,
           np.float64]


@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize("name", ["m.mha", "m.mhd", "m.nrrd", "m.nhdr"])
@pytest.mark.parametrize("compressed", [False, True])
def test_voxels_and_place_are_those_of_itk(tmp_path, dtype, name, compressed):
    """Another reader of the same file: SimpleITK."""
    values = np.random.default_rng(0).integers(0, 100, (4, 5, 6)).astype(dtype)
    image = sitk.GetImageFromArray(values)
    image.SetSpacing([2, 1.5, 1])
    image.SetDirection(TURN[:3, :3].ravel().tolist())
    image.SetOrigin([7, 8, 9.5])
    sitk.WriteImage(image, str(tmp_path / name), compressed)
    assert_as_itk(tmp_path / name)


def assert_as_itk(path):
    found, itk = open_image(path), sitk.ReadImage(str(path))
    np.testing.assert_array_equal(found.layers()[0].T, sitk.GetArrayFromImage(itk))
    for index in ([0, 0, 0], [3, 1, 2]):
        place = np.array(itk.TransformIndexToPhysicalPoint(index)) * [-1e-3, -1e-3, 1e-3]
        np.testing.assert_allclose(place, (found.affine @ [*index, 1])[:3], atol=1e-9)


@pytest.mark.parametrize("codes", ["RAS", "LAS", "LPS"])
@pytest.mark.parametrize("short", [False, True])
@pytest.mark.parametrize("encoding", ["raw", "gzip", "bz2", "ascii", "hex", "gz", "text", "bzip2"])
def test_nrrd_by_hand(tmp_path, codes, short, encoding):
    path = write_nrrd(tmp_path / "m.nrrd", encoding, codes=codes, short=short)
    image = open_image(path)
    np.testing.assert_allclose(image.affine, np.diag([1e-3, 1e-3, 1e-3, 1]) @ AFFINE, atol=1e-9)
    np.testing.assert_array_equal(image.labels()[0], block())
    if encoding in ("raw", "gzip"):  # the others are not in ITK, or only in some builds
        assert_as_itk(path)


LONG = {"R": "right", "L": "left", "A": "anterior", "P": "posterior", "S": "superior"}


def write_nrrd(path, encoding="raw", codes="RAS", short=False, extra=(), drop=(), data=None):
    """NRRD by its definition."""
    import bz2
    signs = np.array([1 if code in "RAS" else -1 for code in codes])
    data = block().astype("<i2") if data is None else data
    raw = data.tobytes(order="F")
    text = " ".join(map(str, data.ravel(order="F"))).encode()
    packed = {"raw": raw, "gz": gzip.compress(raw), "gzip": gzip.compress(raw),
              "bz2": bz2.compress(raw), "bzip2": bz2.compress(raw), "hex": raw.hex().encode(),
              "ascii": text, "text": text}[encoding]
    columns = " ".join(f"({','.join(f'{x:.9g}' for x in column)})"
                       for column in (AFFINE[:3, :3] * signs[:, None]).T)
    fields = {"type": "short", "dimension": "3",
              "space": codes if short else "-".join(LONG[code] for code in codes),
              "sizes": " ".join(map(str, data.shape)), "space directions": columns,
              "kinds": "domain domain domain", "endian": "little", "encoding": encoding,
              "space origin": f"({','.join(f'{x:.9g}' for x in AFFINE[:3, 3] * signs)})"}
    lines = ["NRRD0005", *(f"{key}: {value}" for key, value in fields.items() if key not in drop),
             *extra, "", ""]
    path.write_bytes("\n".join(lines).encode() + packed)
    return path


@pytest.mark.parametrize("options, words", [
    ({"drop": ("space directions",)}, "no place in the patient.*space directions"),
    ({"drop": ("space origin",)}, "no place in the patient.*space origin"),
    ({"drop": ("space",), "extra": ("space dimension: 3",)}, "no place in the patient"),
    ({"extra": ('space units: "cm" "cm" "cm"',)}, "lengths in cm"),
    ({"encoding": "raw", "drop": ("endian",)}, "endian"),
    ({"drop": ("sizes",)}, "not a readable image"), ({"drop": ("type",)}, "not a readable image"),
    ({"drop": ("encoding",)}, "encoding is 'none'"),
    ({"extra": ("byte skip: -2",)}, "byte skip -2"),
    ({"data": block()[..., :20].astype("<i4")}, "tells of"),
])
def test_faulty_nrrd_is_refused(tmp_path, options, words):
    path = write_nrrd(tmp_path / "m.nrrd", **options)
    with pytest.raises(InputError, match=words):
        open_image(path, "anatomy.labels").layers()


def test_spellings_that_teem_allows(tmp_path):
    path = write_nrrd(tmp_path / "m.nrrd", drop=("space directions", "space origin"), extra=(
        "Space Directions: ( 2, 0, 0 ) (0, 1.5, 0) (0,0,1)", "spaceorigin: ( -30, 12 , 5 )",
        'space units: "mm" "mm" "mm"', "# a comment", "key:=a value: with colons"))
    np.testing.assert_allclose(open_image(path).affine[:3] * 1e3, AFFINE[:3])


@pytest.mark.parametrize("detached", ["one file", "skipped lines", "skipped to the end", "a list"])
def test_voxels_in_other_files(tmp_path, detached):
    data = block().astype("<i2")
    raw = data.tobytes(order="F")
    files = {"one file": ("data file: v.raw", {"v.raw": raw}),
             "skipped lines": ("data file: v.raw\nline skip: 2\nbyte skip: 3",
                               {"v.raw": b"a\nb\nxyz" + raw}),
             "skipped to the end": ("data file: v.raw\nbyte skip: -1", {"v.raw": b"header" + raw}),
             "a list": ("data file: s%02d.raw 1 26 1", {f"s{k + 1:02d}.raw": data[..., k].tobytes(
                 order="F") for k in range(26)})}
    field, parts = files[detached]
    write_nrrd(tmp_path / "m.nhdr", extra=(field,))
    header = (tmp_path / "m.nhdr").read_bytes()
    (tmp_path / "m.nhdr").write_bytes(header[:header.index(b"\n\n") + 2])
    for name, content in parts.items():
        (tmp_path / name).write_bytes(content)
    np.testing.assert_array_equal(open_image(tmp_path / "m.nhdr").labels()[0], block())


def test_names_are_utf_8(tmp_path):
    write_itk(tmp_path / "m.seg.nrrd", block(), AFFINE, {**NAMES, 3: "Tumör, größer"})
    assert "Tumör, größer" in [s.name for s in open_image(tmp_path / "m.seg.nrrd").segments]


@pytest.mark.parametrize("name", ["m.nii", "m.nrrd", "m.mha"])
def test_a_sheared_map_lies_where_its_header_says(tmp_path, name):
    """Labels drawn on a tilted scan: volume and centroid of the truth, by the stored voxels."""
    labels = block((44, 48, 52)).repeat(2, 0)[:44]
    affine = SHEAR @ AFFINE
    if name == "m.nii":
        write_nifti(tmp_path / name, labels, affine)
    elif name == "m.mha":
        write_meta(tmp_path / name, labels, affine)
    else:
        vectors = [f"({','.join(map(str, column))})" for column in affine[:3].T]
        write_nrrd(tmp_path / name, data=labels.astype("<i2"),
                   drop=("space directions", "space origin"),
                   extra=(f"space directions: {' '.join(vectors[:3])}",
                          f"space origin: {vectors[3]}"))
    anatomy = anatomy_of(section(tmp_path / name, cut_regions=[]))
    for region, label in (("lump", 3), ("fat", 1)):
        index = np.argwhere(labels == label)
        mask = anatomy.labels == anatomy.regions[region]["label"]
        true = affine[:3, :3] @ index.mean(axis=0) + affine[:3, 3]
        found = anatomy.position(np.argwhere(mask)).mean(axis=0) * 1e3
        assert (np.abs(found - true) < 0.1 * np.array([2, 1.5, 1])).all()
        assert anatomy.regions[region]["volume_m3"] == pytest.approx(
            len(index) * 3e-9, rel=0.01)


def write_meta(path, labels, affine):
    """MetaImage by its definition; its matrix holds the axes' directions in rows, in L, P, S."""
    lps = np.diag([-1, -1, 1, 1]) @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    turn = " ".join(f"{x:.12g}" for x in (lps[:3, :3] / spacing).T.ravel())
    lines = ["ObjectType = Image", "NDims = 3", "BinaryData = True",
             "BinaryDataByteOrderMSB = False", "CompressedData = False",
             f"TransformMatrix = {turn}", f"Offset = {' '.join(f'{x:.12g}' for x in lps[:3, 3])}",
             f"ElementSpacing = {' '.join(f'{x:.12g}' for x in spacing)}",
             f"DimSize = {' '.join(map(str, labels.shape))}", "ElementType = MET_SHORT",
             "ElementDataFile = LOCAL", ""]
    path.write_bytes("\n".join(lines).encode() + labels.astype("<i2").tobytes(order="F"))


def test_a_shift_by_half_voxels_displaces_nothing(tmp_path):
    """Each slice half a voxel further: nearest neighbours could all lie to one side."""
    labels = block((44, 48, 52)).repeat(2, 0)[:44]
    affine = AFFINE.copy()
    affine[0, 2] = 1.0
    write_nifti(tmp_path / "m.nii", labels, affine)
    anatomy = anatomy_of(section(tmp_path / "m.nii", cut_regions=[]))
    for region, label in (("lump", 3), ("fat", 1)):
        mask = anatomy.labels == anatomy.regions[region]["label"]
        true = affine[:3, :3] @ np.argwhere(labels == label).mean(axis=0) + affine[:3, 3]
        found = anatomy.position(np.argwhere(mask)).mean(axis=0) * 1e3
        assert (np.abs(found - true) < 0.1 * np.array([2, 1.5, 1])).all()


def test_turned_nifti_of_all_kinds_agree(tmp_path):
    """Axis codes, not only values: nibabel's own reorientation of the same map."""
    for codes in ("PIR", "SLA"):
        labels, affine = turned(block(), AFFINE, codes)
        image = open_image(nifti_of(tmp_path / f"{codes}.nii.gz", labels, affine))
        assert "".join(nib.aff2axcodes(image.affine)) == codes


def nifti_of(path, labels, affine):
    nib.save(nib.Nifti1Image(labels, affine), path)
    return path
