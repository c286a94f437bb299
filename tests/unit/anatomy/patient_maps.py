"""Small label maps in every format, and patient sections for them."""

from __future__ import annotations

import nibabel as nib
import numpy as np

from hifuflow.anatomy.build import build_anatomy
from hifuflow.anatomy.settings import AnatomySettings
from hifuflow.provenance import ROOT
from hifuflow.study.patient import load_patient

REFERENCE = load_patient(ROOT / "config" / "patients" / "breast_reference.yaml")
NAMES = {1: "Body", 7: "Chest wall", 3: "Tumour, left"}
AFFINE = np.array([[2.0, 0, 0, -30], [0, 1.5, 0, 12], [0, 0, 1, 5], [0, 0, 0, 1]])  # [mm]
LPS = np.diag([-1.0, -1, 1, 1])


def block(shape=(22, 24, 26)):
    """Body with a tumour inside and a wall behind it, in RAS+ order; beam along +S."""
    labels = np.zeros(shape, np.int16)
    labels[3:19, 3:21, 4:22] = 1
    labels[8:12, 9:15, 9:14] = 3
    labels[8, 9, 9] = 1  # not symmetric, whichever way it is flipped
    labels[3:19, 3:21, 18:20] = 7
    return labels


def turned(labels, affine, codes):
    """The same map with its array axes in another order and direction."""
    image = nib.Nifti1Image(labels, affine)
    image = image.as_reoriented(nib.orientations.ornt_transform(
        nib.io_orientation(affine), nib.orientations.axcodes2ornt(codes)))
    return np.asarray(image.dataobj), image.affine


def section(path, names=False, **changes):
    """What the anatomy stage gets for a block at `path`."""
    regions = {"lump": {"labels": [NAMES[3] if names else 3], "tissue": "tumour"},
               "fat": {"labels": [NAMES[1] if names else 1], "tissue": "fat"},
               "muscle": {"labels": [NAMES[7] if names else 7], "tissue": "fat"}}
    base = {"anatomy": {"labels": str(path), "crop_margin_mm": 100, "outside": []},
            "regions": regions, "cut_regions": ["muscle"],
            "target": {"region": "lump", "margin_mm": 0, "largest_component": False}}
    return {**REFERENCE.section("anatomy"), **base, **changes}


def anatomy_of(section: dict):
    """What the anatomy stage makes of its section."""
    return build_anatomy(AnatomySettings.read(section))


def write_nifti(path, labels, affine, names=()):
    """NIfTI; names go into the header extension that TotalSegmentator writes."""
    image = nib.Nifti1Image(labels, affine)
    table = "".join(f'<Label Key="{key}"><![CDATA[{name}]]></Label>'
                    for key, name in dict(names).items())
    image.header.extensions.append(nib.nifti1.Nifti1Extension(
        0, f"<CaretExtension><LabelTable>{table}</LabelTable></CaretExtension>".encode()))
    nib.save(image, path)


def write_itk(path, labels, affine, names=()):
    """NRRD or MetaImage, with names as 3D Slicer keeps them."""
    import SimpleITK as sitk

    lps = LPS @ affine
    image = sitk.GetImageFromArray(np.ascontiguousarray(labels.transpose(2, 1, 0)))
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    for number, (label, name) in enumerate(dict(names).items()):
        for field, value in (("Name", name), ("LabelValue", label), ("Layer", 0)):
            image.SetMetaData(f"Segment{number}_{field}", str(value))
    sitk.WriteImage(image, str(path), True)


def write_layers(path, layers, affine, segments):
    """Layered .seg.nrrd; segments: (name, layer, label). Written by hand, as Slicer's header is."""
    lps = LPS @ affine
    vectors = " ".join(f"({','.join(f'{x:.9g}' for x in column)})" for column in lps[:3, :3].T)
    sizes = " ".join(map(str, layers[0].shape))
    lines = ["NRRD0004", "type: short", "dimension: 4", "space: left-posterior-superior",
             f"sizes: {len(layers)} {sizes}", f"space directions: none {vectors}",
             "kinds: list domain domain domain", "endian: little", "encoding: raw",
             f"space origin: ({','.join(f'{x:.9g}' for x in lps[:3, 3])})"]
    for number, (name, layer, label) in enumerate(segments):
        lines += [f"Segment{number}_Name:={name}", f"Segment{number}_LabelValue:={label}",
                  f"Segment{number}_Layer:={layer}"]
    data = np.stack(layers).astype("<i2").tobytes(order="F")
    path.write_bytes("\n".join([*lines, "", ""]).encode() + data)


def write_dicom_seg(path, masks, affine, names):
    """DICOM-SEG of masks (n, nx, ny, nz), all frames written, over an empty CT series."""
    pixels = np.stack(masks, axis=-1).transpose(2, 1, 0, 3).astype(np.uint8)
    dicom_seg(ct_series(masks[0].shape, affine), pixels, names).save_as(path)


def dicom_seg(series, pixels, names, kind="BINARY", omit_empty_frames=False, **options):
    """DICOM-SEG by highdicom; pixels (slices, rows, columns), or with an axis of segments more."""
    import warnings

    import highdicom
    from pydicom.sr.codedict import codes
    from pydicom.uid import generate_uid

    manual = highdicom.seg.SegmentAlgorithmTypeValues.MANUAL
    segments = [highdicom.seg.SegmentDescription(number, name, codes.SCT.Tissue, codes.SCT.Tissue,
                                                 manual)
                for number, name in enumerate(names, start=1)]
    with warnings.catch_warnings(action="ignore"):
        return highdicom.seg.Segmentation(
            series, pixels, kind, segments, generate_uid(), 2, generate_uid(), 1, "none", "none",
            "1", "1", omit_empty_frames=omit_empty_frames, **options)


def ct_series(shape, affine, values=None):
    """DICOM CT slices, one for each index of the last array axis."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    lps = LPS @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    uid = {"StudyInstanceUID": generate_uid(), "SeriesInstanceUID": generate_uid(),
           "FrameOfReferenceUID": generate_uid()}
    empty = dict.fromkeys(("PatientName", "PatientBirthDate", "PatientSex", "StudyID",
                           "AccessionNumber", "ReferringPhysicianName", "StudyDate", "StudyTime",
                           "PositionReferenceIndicator"), "")
    series = []
    for k in range(shape[2]):
        pixels = np.zeros(shape[:2]) if values is None else values[:, :, k]
        one = Dataset()
        one.file_meta = FileMetaDataset()
        one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        content = {
            **uid, **empty, "SOPClassUID": CTImageStorage, "SOPInstanceUID": generate_uid(),
            "PatientID": "1", "Modality": "CT", "SeriesNumber": 1, "InstanceNumber": k + 1,
            "Rows": shape[1], "Columns": shape[0], "SamplesPerPixel": 1,
            "PhotometricInterpretation": "MONOCHROME2", "BitsAllocated": 16, "BitsStored": 16,
            "HighBit": 15, "PixelRepresentation": 1, "RescaleSlope": 1, "RescaleIntercept": 0,
            "PixelSpacing": [spacing[1], spacing[0]], "SliceThickness": spacing[2],
            "ImageOrientationPatient": (lps[:3, :2] / spacing[:2]).T.ravel().tolist(),
            "ImagePositionPatient": (lps @ [0, 0, k, 1])[:3].tolist(),
            "PixelData": np.ascontiguousarray(pixels.T).astype("<i2").tobytes()}
        for key, value in content.items():
            setattr(one, key, value)
        one.file_meta.MediaStorageSOPClassUID = one.SOPClassUID
        one.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID
        series.append(one)
    return series


def multi_frame(series, order):
    """Made by highdicom; then its frames are put into another order."""
    import warnings

    import highdicom
    import pydicom
    from pydicom.uid import generate_uid

    for one in series:  # what the standard asks for and the readers do not
        for name, value in (("ImageType", ["ORIGINAL", "PRIMARY", "AXIAL"]), ("Manufacturer", "m"),
                            ("AcquisitionNumber", 1), ("ContentDate", "20200101"),
                            ("ContentTime", "120000"), ("AcquisitionDate", "20200101"),
                            ("AcquisitionTime", "120000")):
            setattr(one, name, value)
    with warnings.catch_warnings(action="ignore"):
        made = highdicom.legacy.LegacyConvertedEnhancedCTImage(
            series, generate_uid(), 5, generate_uid(), 1)
    frames = made.pixel_array
    groups = list(made.PerFrameFunctionalGroupsSequence)
    made.PixelData = frames[list(order)].tobytes()
    made.PerFrameFunctionalGroupsSequence = pydicom.Sequence([groups[k] for k in order])
    return made
