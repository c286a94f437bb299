"""The treatment as DICOM objects on the patient's own series, for 3D Slicer and archives.

Planned target and lesion as a segmentation (PS3.3 A.51), highest temperature and dose as parametric
maps (A.75), through highdicom. Each refers to the slices that it lies on, in their frame of
reference, and repeats their patient and study.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hifuflow.formats.dicom_source import DicomSource, check_holds, open_source
from hifuflow.job import atomic, log
from hifuflow.provenance import created_by
from hifuflow.report.figures.view import volume_of

from .images import resampled

KEY = "export.dicom_series"
MAKER = "hifuflow"
SERIES_NUMBER = 9000  # of the first object: apart from those of a scanner
MODEL_NAME = "simulated focused-ultrasound treatment"


@dataclass(frozen=True)
class Quantity:
    """What a parametric map shows. `code` of the quantity, `unit` by its UCUM code, `window`
    (centre, width) to show it with at first."""

    number: int
    meaning: str
    code: str
    unit: str
    window: tuple


PEAK = Quantity(1, "peak temperature", "PEAK_TEMPERATURE", "Cel", (50, 30))
DOSE = Quantity(2, "thermal dose CEM43", "CEM43", "min", (120, 240))


def export_dicom(anatomy, trajectory, dose: float, series, lesion_path, peak_path,
                 dose_path) -> None:
    """Write segmentation and parametric maps on the slices of a series.

    Only the slices that the model reaches are written. Each of their voxels takes the value of the
    model's voxel at the same place; outside the model the dose is 0 and the temperature that
    before treatment, as in `images.export_images`.

    Parameters
    ----------
    anatomy, trajectory : see `hifuflow.records`.
    dose : prescribed [CEM43 min]; what has it is the lesion.
    series : path of the DICOM series, a folder or an enhanced multi-frame file.
    lesion_path, peak_path, dose_path : where the objects go (`.dcm`).

    Raises
    ------
    InputError : the series cannot be read, or does not hold the whole target.
    """
    source = open_source(series, KEY)
    target = anatomy.target_mask
    check_holds(source.image, anatomy.position(np.argwhere(target)), "target")
    frames, headers = _frames(anatomy, source)
    baseline = float(np.median(trajectory.outputs.baseline))

    def onto(volume, outside):
        """A volume of the model on the slices: (frames, rows, columns)."""
        affine = source.image.affine.copy()
        affine[:3] *= 1e3
        values = resampled(volume, anatomy, affine, source.image.shape, outside)
        return np.ascontiguousarray(values.T[frames])

    def of_voxels(values, outside):
        return onto(volume_of(anatomy, trajectory.voxel_index, values, outside), outside)

    lesion = of_voxels(trajectory.voxel_dose >= dose, 0)
    masks = np.stack([onto(target.astype(np.float32), 0), lesion], axis=-1).astype(np.uint8)
    _save(lesion_path, _segmentation, headers, masks, dose)
    peak = of_voxels(trajectory.voxel_peak_temperature, baseline)
    _save(peak_path, _parametric_map, headers, peak, PEAK)
    _save(dose_path, _parametric_map, headers, of_voxels(trajectory.voxel_dose, 0.0), DOSE)


def _frames(anatomy, source: DicomSource):
    """Indices along the last axis of the slices that the model reaches, and their headers."""
    box = np.array(list(np.ndindex(2, 2, 2))) * np.array(anatomy.labels.shape) - 0.5
    place = anatomy.position(box)
    k = np.linalg.solve(source.image.affine[:3, :3],
                        (place - source.image.affine[:3, 3]).T)[2]
    within = (source.index >= np.floor(k.min())) & (source.index <= np.ceil(k.max()))
    if len(source.headers) < len(source.index):  # all the frames of one file
        return source.index, source.headers
    return source.index[within], [header for header, used in zip(source.headers, within,
                                                                 strict=True) if used]


def _save(path, make: Callable, *content) -> None:
    """highdicom warns of what scanners write; the objects that it makes are checked by it."""
    with warnings.catch_warnings(action="ignore"):
        made = make(*content)
    with atomic(path) as temporary:
        made.save_as(temporary, enforce_file_format=True)
    log.info("%s: %d frames", path, made.NumberOfFrames)


def _identity(headers, kind: str, number: int, values) -> dict:
    """What highdicom asks for of every object. The same content has the same identifiers."""
    from hashlib import sha256

    from pydicom.uid import generate_uid

    content = sha256(np.ascontiguousarray(values).tobytes()).hexdigest()
    known = [headers[0].SeriesInstanceUID, kind, content, created_by()]
    return {"series_instance_uid": generate_uid(entropy_srcs=[*known, "series"]),
            "sop_instance_uid": generate_uid(entropy_srcs=[*known, "instance"]),
            "series_number": SERIES_NUMBER + number, "instance_number": 1, "manufacturer": MAKER,
            "manufacturer_model_name": MODEL_NAME, "software_versions": created_by(),
            "device_serial_number": "none", "content_creator_name": MAKER}


def _segmentation(headers, masks, dose):
    """Planned target and lesion, which overlap, as the segments 1 and 2."""
    import highdicom
    from pydicom.sr.codedict import codes

    simulation = highdicom.AlgorithmIdentificationSequence(
        name=MODEL_NAME, version=created_by(), family=codes.DCM.AnalyticalAlgorithm)
    described = [highdicom.seg.SegmentDescription(
        number, label, codes.SCT.MorphologicallyAbnormalStructure, kind,
        highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC, simulation, tracking_id=label,
        tracking_uid=_tracking(headers, label), display_color=highdicom.color.CIELabColor.from_rgb(
            *colour))
        for number, (label, kind, colour) in enumerate((
            ("Planned target", codes.SCT.Lesion, (213, 94, 0)),
            ("Lesion", codes.SCT.Necrosis, (0, 158, 115))), 1)]
    segmentation = highdicom.seg.Segmentation(
        headers, masks, "BINARY", described, omit_empty_frames=False,
        content_label="HIFU_LESION",
        content_description=f"planned target; simulated lesion ({dose:g} CEM43 min)"[:64],
        **_identity(headers, "lesion", 0, masks))
    segmentation.SeriesDescription = "hifuflow: planned target and simulated lesion"
    return segmentation


def _tracking(headers, label) -> str:
    from pydicom.uid import generate_uid

    return generate_uid(entropy_srcs=[headers[0].SeriesInstanceUID, MAKER, label])


def _code(value, meaning):
    from pydicom.sr.coding import Code

    return Code(value, "99HIFUFLOW", meaning)


def _anatomy():
    """Frame Anatomy (C.7.6.16.2.8), without which dcmqi, and so 3D Slicer, reads no such map."""
    from highdicom.sr import CodedConcept
    from pydicom.dataset import Dataset
    from pydicom.sr.codedict import codes

    anatomy = Dataset()
    anatomy.FrameLaterality = "U"  # unpaired
    anatomy.AnatomicRegionSequence = [CodedConcept.from_code(codes.SCT.AnatomicalStructure)]
    return anatomy


def _parametric_map(headers, values, shown: Quantity):
    """Float values, of which each is what it says: slope 1, intercept 0."""
    import highdicom
    from pydicom.sr.codedict import codes

    units = {"Cel": codes.UCUM.DegreesCelsius, "min": codes.UCUM.Minute}
    mapping = highdicom.pm.RealWorldValueMapping(
        lut_label=shown.code, lut_explanation=f"simulated {shown.meaning}",
        unit=units[shown.unit], value_range=(float(values.min()), float(values.max())), slope=1,
        intercept=0, quantity_definition=_code(shown.code, shown.meaning))
    window = highdicom.VOILUTTransformation(*shown.window)
    made = highdicom.pm.ParametricMap(
        headers, values.astype(np.float32), contains_recognizable_visual_features=False,
        real_world_value_mappings=[mapping], voi_lut_transformations=[window],
        content_label=shown.code, content_description=f"simulated {shown.meaning}",
        **_identity(headers, shown.meaning, shown.number, values))
    made.SeriesDescription = f"hifuflow: simulated {shown.meaning}"
    made.SharedFunctionalGroupsSequence[0].FrameAnatomySequence = [_anatomy()]
    return made
