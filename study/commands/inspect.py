"""Print what files hold: label maps, scans, meshes and the results of a run.

Shapes, units and provenance of a result; quality of a mesh; labels, names and volumes of a label
map, with the `regions:` of a patient file made from them.

  hifuflow inspect anna.seg.nrrd
  hifuflow inspect results/anna/fem/*.h5 results/anna/mesh/control.msh
"""

from __future__ import annotations

from .messages import each


def arguments(parser) -> None:
    """Declare what the command takes."""
    parser.add_argument("files", nargs="+", metavar="FILE")


def main(arguments) -> int:
    """Print each of the files."""
    from hifuflow.study.inspect import describe, quality_table

    return each(arguments.files, lambda file: describe(file, quality_table))
