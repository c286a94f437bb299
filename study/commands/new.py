"""Write a patient file to start from, for a segmentation.

It names every label of the map, with a tissue where the label's name tells of one, and the target
where one label's name does. Comments in it say what is a guess and what must be filled in. A file
that is there already is not overwritten.

  hifuflow new anna.seg.nrrd
  hifuflow new scans/anna.nii.gz --output study/anna.yaml
"""

from __future__ import annotations


def arguments(parser) -> None:
    """Declare what the command takes."""
    parser.add_argument("segmentation", metavar="SEGMENTATION",
                        help="label map: NIfTI, NRRD, .seg.nrrd of 3D Slicer, MetaImage, DICOM-SEG")
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
