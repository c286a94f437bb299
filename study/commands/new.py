"""Write a patient file to start from, for a segmentation.

A segmentation is a label map, a folder with one for each organ, a DICOM-SEG or RTSTRUCT (or the
folder with it and its series), closed surfaces or a folder of them, or a mesh of tetrahedra.

It names every label of the map, with a tissue where the label's name tells of one, and the target
where one label's name does. Comments in it say what is a guess and what must be filled in. A file
that is there already is not overwritten.

  hifuflow new anna.seg.nrrd
  hifuflow new scans/anna.nii.gz --output study/anna.yaml
  hifuflow new segmentations/ --output study/anna.yaml
"""

from __future__ import annotations


def arguments(parser) -> None:
    """Declare what the command takes."""
    parser.add_argument("segmentation", metavar="SEGMENTATION",
                        help="label map, RTSTRUCT, surface, mesh, or a folder: see above")
    parser.add_argument("--output", metavar="PATIENT.yaml",
                        help="where to; default the segmentation's name, in this folder")


def main(arguments) -> int:
    """Write the file and say what is still to be done."""
    from hifuflow.study.starter import write_starter

    path, missing = write_starter(arguments.segmentation, arguments.output)
    print(f"wrote {path}")
    if missing:
        print(f"to be filled in: {', '.join(missing)}")
    print(f"next: hifuflow validate {path}")
    return 0
