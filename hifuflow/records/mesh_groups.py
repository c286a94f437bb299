"""Names of the physical groups in `mesh/{model}.msh`.

A volume group has its region's name, a facet group is `skin` or `cut`. Readers of meshes keep one
group for each name, so a region that is itself called `skin` or `cut` has the volume group
`skin_region` or `cut_region`.
"""

from __future__ import annotations

SKIN, CUT = "skin", "cut"
SURFACES = (SKIN, CUT)
GROUP_OF = {surface: f"{surface}_region" for surface in SURFACES}
REGION_OF = {group: surface for surface, group in GROUP_OF.items()}


def volume_group(region: str) -> str:
    """Name of a region's volume group."""
    return GROUP_OF.get(region, region)


def region_of(group: str) -> str:
    """Name of the region whose volume group this is."""
    return REGION_OF.get(group, group)
