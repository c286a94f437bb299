"""Finite elements: the Pennes bioheat equation on a tetrahedral mesh, as sparse matrices.

mpi4py must load the MPI library before DOLFINx looks for it; importing it here puts it first
for every module of the package.
"""

from mpi4py import MPI as MPI
