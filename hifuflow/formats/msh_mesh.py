"""Gmsh's MSH, versions 2 and 4, with all physical groups of a cell, through meshio.

meshio keeps one group of each cell. In version 2 a cell in two groups is written twice; from
version 4 on the groups stand with the geometry's entities, and are read from there.
Format: https://gmsh.info/doc/texinfo/gmsh.html#MSH-file-format.
"""

from __future__ import annotations

import mmap
import tempfile
from pathlib import Path

import numpy as np

from .mesh_parts import Parts, from_meshio

PHYSICAL, ENTITY = "gmsh:physical", "gmsh:geometrical"


def read_msh(path) -> Parts:
    """Cells, facets and their physical groups."""
    version, binary, size = _version(path)
    try:
        mesh = _by_meshio(path, version)
    except ValueError as error:
        if PHYSICAL not in str(error):
            raise
        raise ValueError("some of its cells are in no physical group, others are (Gmsh's option "
                         "Mesh.SaveAll)") from error
    parts = from_meshio(mesh)
    named = {(int(dim), int(tag)): text for text, (tag, dim) in mesh.field_data.items()}
    parts.names = {tag: text for (dim, tag), text in named.items() if dim == 3}
    groups = _entity_groups(path, version, binary, size) if version[0] == "4" else None
    if PHYSICAL in mesh.cell_data:
        _solid_groups(parts, groups[3] if groups else None)
    _facet_groups(parts, mesh, named, groups[2] if groups else None)
    parts.data.pop(PHYSICAL, None)
    return parts


def _version(path):
    """Version of the format, whether the file is binary, bytes of its sizes.

    Gmsh calls version 4.0 "4", others call 4.1 so: they differ in the second line of the nodes.
    """
    with open(path, "rb") as stream:
        if stream.readline().strip() != b"$MeshFormat":
            raise ValueError("it does not begin with $MeshFormat")
        version, binary, size = stream.readline().decode().split()[:3]
        if version == "4" and binary == "0":
            while (line := stream.readline()) and line.strip() != b"$Nodes":
                pass
            version = "4.0" if len(stream.readline().split()) == 2 else "4.1"
    return version, binary != "0", int(size)


def _by_meshio(path, version):
    """The mesh by meshio's reader of this version."""
    import meshio  # slow to load, needed for meshes only

    with open(path, "rb") as stream:
        said = stream.readlines(64)[1].split()[0]
    if said != b"4" or version != "4.0":
        return meshio.gmsh.read(str(path))  # not `meshio.read`: it ends the process on a failure
    with tempfile.NamedTemporaryFile(suffix=".msh") as copy:  # under the name that meshio knows
        copy.write(Path(path).read_bytes().replace(b"\n4 ", b"\n4.0 ", 1))
        copy.flush()
        return meshio.gmsh.read(copy.name)


def _solid_groups(parts, groups) -> None:
    """Which cells are in which groups; cells that are written twice become one."""
    if groups is not None:
        entities, inverse = np.unique(parts.data[ENTITY], return_inverse=True)
        for tag in sorted({tag for held in groups.values() for tag in held}):
            inside = np.array([tag in groups.get(int(entity), ()) for entity in entities])
            parts.members[tag] = inside[inverse]
        parts.members = {tag: mask for tag, mask in parts.members.items() if mask.any()}
        return
    tags = parts.data[PHYSICAL].astype(int)
    _, first, inverse = np.unique(np.sort(parts.cells, axis=1), axis=0, return_index=True,
                                  return_inverse=True)
    place = np.argsort(np.argsort(first))[inverse.ravel()]  # in the order of the file
    first = np.sort(first)
    for tag in np.unique(tags[tags != 0]):
        mask = np.zeros(len(first), bool)
        mask[place[tags == tag]] = True
        parts.members[int(tag)] = mask
    parts.cells, parts.middles = parts.cells[first], parts.middles[first]
    parts.data = {name: values[first] for name, values in parts.data.items()}


def _facet_groups(parts, mesh, named, groups) -> None:
    """The name of each facet's group; a facet in several stands once for each."""
    flat = [i for i, block in enumerate(mesh.cells) if block.type in ("triangle", "triangle6")]
    held = {name: np.concatenate([np.asarray(mesh.cell_data[name][i]) for i in flat]).astype(int)
            if flat and name in mesh.cell_data else np.zeros(len(parts.facets), int)
            for name in (PHYSICAL, ENTITY)}
    if groups is None:
        tags = [[tag] for tag in held[PHYSICAL].tolist()]
    else:
        tags = [groups.get(entity) or [0] for entity in held[ENTITY].tolist()]
    rows = np.repeat(np.arange(len(tags)), [len(some) for some in tags]).astype(int)
    parts.facets, parts.facet_middles = parts.facets[rows], parts.facet_middles[rows]
    parts.facet_names = np.array([named.get((2, tag), "") for some in tags for tag in some],
                                 dtype=str)


def _entity_groups(path, version, binary, size):
    """For each dimension: entity -> tags of its physical groups. None: the file has no entities."""
    with open(path, "rb") as stream:
        stream.readline(), stream.readline()
        order = ">" if binary and stream.read(4) == b"\0\0\0\x01" else "<"
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            start, end = data.find(b"\n$Entities"), data.find(b"\n$EndEntities")
            if start < 0 or end < start:
                return None
            section = data[data.find(b"\n", start + 1) + 1:end + 1]
    take = _binary_taker(section, order, size) if binary else _text_taker(section)
    groups: list = [{}, {}, {}, {}]
    for dimension, count in enumerate(take("size", 4)):
        for _ in range(int(count)):
            entity = int(take("int", 1)[0])
            take("double", 3 if dimension == 0 and version != "4.0" else 6)
            groups[dimension][entity] = [int(tag) for tag in
                                         take("int", int(take("size", 1)[0]))]
            if dimension:
                take("int", int(take("size", 1)[0]))
    return groups


def _text_taker(section):
    words = iter(section.split())
    return lambda kind, count: [float(next(words)) for _ in range(count)]


def _binary_taker(section, order, size):
    kinds = {"int": np.dtype(f"{order}i4"), "double": np.dtype(f"{order}f8"),
             "size": np.dtype(f"{order}u{size}")}
    at = 0

    def take(kind, count):
        nonlocal at
        values = np.frombuffer(section, kinds[kind], count, at)
        at += values.nbytes
        return values

    return take


