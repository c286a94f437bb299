"""Structure sets (RTSTRUCT) and the series that they are drawn on, built for tests."""

from __future__ import annotations

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, RTStructureSetStorage, generate_uid


def save_series(series, folder):
    """Files of a series in a folder."""
    folder.mkdir(exist_ok=True, parents=True)
    for number, one in enumerate(series):
        one.save_as(folder / f"ct_{number:03d}.dcm", enforce_file_format=True)
    return folder


def rtstruct(structures: dict, frame_uid: str | None = None, kind="CLOSED_PLANAR"):
    """A structure set; structures: name -> contours, arrays (n, 3) in L, P, S and mm."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = RTStructureSetStorage
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
    data.Modality = "RTSTRUCT"
    frame = Dataset()
    frame.FrameOfReferenceUID = frame_uid or generate_uid()
    data.ReferencedFrameOfReferenceSequence = Sequence([frame])
    rois, drawn = [], []
    for number, (name, contours) in enumerate(structures.items(), 11):
        roi, of_roi = Dataset(), Dataset()
        roi.ROINumber, roi.ROIName = number, name
        roi.ReferencedFrameOfReferenceUID = frame.FrameOfReferenceUID
        of_roi.ReferencedROINumber = number
        items = []
        for points in contours:
            item = Dataset()
            item.ContourGeometricType = kind
            item.NumberOfContourPoints = len(points)
            item.ContourData = [f"{x:.6g}" for x in np.ravel(points)]
            items.append(item)
        of_roi.ContourSequence = Sequence(items)
        rois.append(roi)
        drawn.append(of_roi)
    data.StructureSetROISequence, data.ROIContourSequence = Sequence(rois), Sequence(drawn)
    return data


def save(data, path):
    """Write one data set as a file."""
    data.save_as(path, enforce_file_format=True)
    return path


def ring(centre, radii, place, corners=200):
    """An ellipse (n, 3) in the plane of this S."""
    angle = 2 * np.pi * np.arange(corners) / corners
    return np.column_stack([centre[0] + radii[0] * np.cos(angle),
                            centre[1] + radii[1] * np.sin(angle), np.full(corners, place)])
