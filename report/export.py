"""The treatment as images on the patient's own grid, to open over the scans."""

from __future__ import annotations

import nibabel as nib
import numpy as np

from hifuflow.images import open_image
from hifuflow.job import atomic

from .view import volume_of


def export_images(anatomy, trajectory, source_image_path, peak_path, dose_path) -> None:
    """Write the peak temperature [degC] and the final dose [CEM43 min] as float32 images.

    With a source image the results have exactly its shape, affine (in millimetres, whatever the
    source's unit) and orientation; each of its voxels takes the value of the model's voxel at
    the same place in the patient. Without one
    (a phantom) they stand on the anatomy's grid. Voxels outside the model hold dose 0 and the
    median temperature before treatment, never NaN.

    Parameters
    ----------
    anatomy, trajectory : see `hifuflow.artifacts`.
    source_image_path : the patient's label map or scan, of any supported format, or None.
    peak_path, dose_path : where the two images go (`.nii.gz`).

    Raises
    ------
    InputError : the source image cannot be read.
    """
    baseline = float(np.median(trajectory.outputs.baseline))
    affine, shape, codes = _grid(anatomy, source_image_path)
    for path, values, outside, meaning in (
            (peak_path, trajectory.voxel_peak_temperature, baseline, "highest temperature, degC"),
            (dose_path, trajectory.voxel_dose, 0.0, "thermal dose, CEM43 min")):
        volume = volume_of(anatomy, trajectory.voxel_index, values, outside)
        if source_image_path is not None:
            volume = _resample(volume, anatomy, affine, shape, outside)
        image = nib.Nifti1Image(volume, affine)
        image.set_sform(affine, codes[0])
        image.set_qform(affine, codes[1])
        image.header.set_xyzt_units("mm", "sec")
        image.header["descrip"] = meaning.encode()
        with atomic(path) as temporary:
            nib.save(image, temporary)


def _grid(anatomy, source_image_path):
    """Affine [mm], shape, and the (sform, qform) codes of the grid to write on."""
    if source_image_path is None:
        affine, shape, codes = anatomy.affine.copy(), anatomy.labels.shape, (1, 1)
    else:
        source = open_image(source_image_path)
        affine, shape = source.affine.copy(), source.shape
        codes = tuple(max(1, code) for code in (*source.codes, 1)[:2])
    affine[:3] *= 1e3
    return affine, shape, codes


def _resample(volume, anatomy, affine, shape, outside) -> np.ndarray:
    """Nearest voxel of `volume` at every voxel of the grid (`affine` [mm], `shape`)."""
    # The grid's affine is in millimetres, the anatomy's in metres.
    to_index = np.linalg.inv(anatomy.affine) @ np.diag([1e-3, 1e-3, 1e-3, 1]) @ affine
    result = np.full(shape, outside, dtype=np.float32)
    first, second = np.meshgrid(np.arange(shape[0]), np.arange(shape[1]), indexing="ij")
    base = (first[..., None] * to_index[:3, 0] + second[..., None] * to_index[:3, 1]
            + to_index[:3, 3])
    limit = np.array(volume.shape)
    for k in range(shape[2]):
        index = np.rint(base + k * to_index[:3, 2]).astype(np.int64)
        inside = ((index >= 0) & (index < limit)).all(axis=-1)
        if inside.any():
            result[..., k][inside] = volume[tuple(index[inside].T)]
    return result
