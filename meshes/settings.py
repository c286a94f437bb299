"""Settings of a mesh."""

from __future__ import annotations

from dataclasses import dataclass

from hifuflow.settings import Written


@dataclass(frozen=True)
class MeshSettings:
    """Settings of one of the two meshes.

    Attributes
    ----------
    cells : wanted number of tetrahedra.
    organs : names of regions whose surfaces the mesh conforms to, beside the target's.
    written : the section `mesh.control` or `mesh.plant` as written, for messages.
    """

    cells: int
    organs: tuple[str, ...]
    written: Written

    @classmethod
    def read(cls, section: dict) -> MeshSettings:
        """Settings from the section of the rule `mesh` for one of the models."""
        return cls(section["cells"], tuple(section["boundary_regions"]),
                   Written(section["file"], section["key"], section))
