"""Where a NIfTI header puts its voxels: sform, qform, and what to do where they disagree.

NIfTI-1 (nifti1.h, R. W. Cox) has two transforms from voxel index to position. The qform is rigid
with voxel edges from `pixdim`; the sform is any affine. Each has a code for the frame it leads to.
"""

from __future__ import annotations

import itertools

import numpy as np

from hifuflow.errors import InputError
from hifuflow.job import log

KEY = "anatomy.nifti_transform"
FORMS = ("sform", "qform")
FRAMES = {0: "unknown", 1: "scanner", 2: "aligned", 3: "Talairach", 4: "MNI152", 5: "template"}
SCANNER = 1
METRES_PER_UNIT = {0: 1e-3, 1: 1.0, 2: 1e-3, 3: 1e-6}  # code of `xyzt_units`; 0 is unknown
APART = 0.1  # of the smallest voxel edge: two transforms disagree
SKEWED = 1e-3  # relative difference between pixdim and the sform's voxel edges that is told


def place(image, stored, transform: str, fault: dict):
    """Affine of a nibabel NIfTI image [m], the (sform, qform) codes, and what to tell of it.

    Parameters
    ----------
    stored : its header as the file has it, not repaired.
    transform : ``sform`` or ``qform``; or ``auto``: where the two disagree, the one in the
        scanner's frame, and the sform where both or none are. An sform that differs from the qform
        by a shear alone (a tilted gantry), which a qform cannot hold, counts as in its frame.
    fault : ``file`` and ``key`` for errors.

    Raises
    ------
    InputError : the header has no such transform, no voxel edges for it, or codes of no meaning.
    """
    codes = _codes(stored, fault)
    forms = {name: form for name in FORMS if codes.get(name)
             and (form := _form(image, stored, name, codes, transform, fault)) is not None}
    if transform == "auto" and not forms:
        raise InputError("the header gives no orientation: sform_code and qform_code are 0",
                         **fault, allowed="a NIfTI map whose sform or qform tells left from "
                                          "right; copy it from the scan that the map was drawn on")
    if transform != "auto" and transform not in forms:
        raise InputError(f"the header has no {transform}: its code is 0", file=fault["file"],
                         key=KEY, value=transform, allowed=", ".join(["auto", *forms]))
    chosen = next(iter(forms)) if transform == "auto" else transform
    metres, record = _metres(stored, fault), {}
    apart = _largest_distance(forms, image.shape)
    if apart > APART * _edges(forms[chosen]).min():
        if transform == "auto" and codes["sform"] != SCANNER == codes["qform"] \
                and not _differ_by_shear(image, forms):
            chosen = "qform"
        record = {"nifti_transform": chosen, "sform_qform_apart_mm": float(apart * metres * 1e3)}
        log.warning("%s: its sform (code %d, %s) and qform (code %d, %s) put voxels up to %.3g mm "
                    "apart; the %s is used (%s%s)", fault["file"], codes["sform"],
                    FRAMES[codes["sform"]], codes["qform"], FRAMES[codes["qform"]],
                    apart * metres * 1e3, chosen, KEY, " chooses" if transform == "auto" else "")
        codes = dict.fromkeys(codes, codes[chosen])
    elif chosen == "sform" and (np.abs(stored["pixdim"][1:4] - _edges(forms["sform"]))
                                > SKEWED * _edges(forms["sform"])).any():
        log.warning("%s: its pixdim tells of voxels of %s, its sform of %s, which is used",
                    fault["file"], *map(_product, (stored["pixdim"][1:4], _edges(forms["sform"]))))
    affine = forms[chosen].copy()
    affine[:3] *= metres
    return affine, tuple(codes.values()), record


def _codes(stored, fault) -> dict:
    """The codes of the two transforms; Analyze, the ancestor, has none."""
    codes = {name: int(stored[f"{name}_code"]) for name in FORMS
             if f"{name}_code" in stored.keys()}
    for name, code in codes.items():
        if code not in FRAMES:
            raise InputError(f"the header's {name}_code is {code}", **fault, allowed=", ".join(
                f"{number} {frame}" for number, frame in FRAMES.items()))
    return codes


def _form(image, stored, name, codes, transform, fault):
    """One of the transforms in the header's unit; None: unusable, and the other one will do."""
    pixdim = np.array(stored["pixdim"][:4], float)
    if name == "sform":
        return np.array(image.get_sform(), float)
    problem = None
    if not (np.isfinite(pixdim[1:]).all() and (pixdim[1:] > 0).all()):
        problem = f"no voxel size for its qform: pixdim is {_product(pixdim[1:])}"
    elif pixdim[0] not in (-1, 0, 1):  # 0 is 1 (nifti1.h)
        problem = f"no handedness of its qform: pixdim[0] is {pixdim[0]:g}, not 1 or -1"
    if problem is None:
        try:
            return np.array(image.get_qform(), float)
        except ValueError as error:
            problem = f"no rotation for its qform: {error}"
    if transform == "qform" or not codes.get("sform"):
        raise InputError(f"the header gives {problem}", **fault,
                         allowed="a whole header; save it again with the scan that it was drawn on")
    log.warning("%s: the header gives %s; the sform is used", fault["file"], problem)
    return None


def _product(edges) -> str:
    return " x ".join(f"{edge:.6g}" for edge in edges)


def _edges(form):
    return np.linalg.norm(form[:3, :3], axis=0)


def _largest_distance(forms, shape) -> float:
    """How far apart two transforms put the same voxel: largest at a corner of the image."""
    if len(forms) < 2:
        return 0.0
    corners = np.array(list(itertools.product(*[(0, n - 1) for n in shape[:3]], [1])))
    return float(np.linalg.norm(corners @ (forms["sform"] - forms["qform"]).T, axis=1).max())


def _differ_by_shear(image, forms) -> bool:
    """Whether the qform is the rigid part of the sform."""
    header = image.header.copy()
    header.set_qform(forms["sform"], SCANNER, strip_shears=True)
    rigid = {"sform": header.get_qform(), "qform": forms["qform"]}
    return _largest_distance(rigid, image.shape) <= APART * _edges(forms["sform"]).min()


def _metres(stored, fault) -> float:
    """Length [m] of one unit of the header's positions (`xyzt_units`)."""
    code = int(stored["xyzt_units"]) % 8 if "xyzt_units" in stored.keys() else 0
    if code not in METRES_PER_UNIT:
        raise InputError(f"the header's unit of length (xyzt_units) has the code {code}", **fault,
                         allowed="1 metre, 2 millimetre, 3 micrometre, or 0, taken as millimetre")
    if code == 0:
        log.info("%s: the header names no unit of length; taken as mm", fault["file"])
    return METRES_PER_UNIT[code]
