"""MATLAB files of every version: what MATLAB itself wrote (test data of SciPy), and small ones."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
import scipy.io.matlab
import scipy.sparse as sp
from matlab_file import write_hdf5

from hifuflow.errors import InputError
from hifuflow.formats.matlab import NotNumbers, read_mat

BY_MATLAB = Path(scipy.io.matlab.__file__).parent / "tests" / "data"


def test_version_7_3_as_it_is_laid_out(tmp_path):
    wide, thin = np.arange(6.0).reshape(2, 3), sp.csc_array([[0.0, 2.0, 0.0], [1.0, 0.0, 0.0]])
    write_hdf5(tmp_path / "m.mat", wide=wide, row=wide[:1], thin=thin, none=np.zeros((0, 3)),
               empty=sp.csc_array((2, 3)), complex=wide + 2j, text="abc",
               sys={"A": wide, "thin": thin})
    found = read_mat(tmp_path / "m.mat")
    np.testing.assert_array_equal(found["wide"], wide)
    np.testing.assert_array_equal(found["row"], wide[:1])
    np.testing.assert_array_equal(found["complex"], wide + 2j)
    for matrix, expected in ((found["thin"], thin), (found["empty"], sp.csc_array((2, 3))),
                             (found["sys"]["thin"], thin)):
        np.testing.assert_array_equal(matrix.toarray(), expected.toarray())
    assert found["none"].shape == (0, 3) and found["text"] == NotNumbers("text")
    np.testing.assert_array_equal(found["sys"]["A"], wide)


def test_objects_cells_and_references_are_named(tmp_path):
    with h5py.File(tmp_path / "m.mat", "w") as file:
        file["sys"] = np.zeros((1, 6), np.uint32)
        file["sys"].attrs.update(MATLAB_class=np.bytes_("ss"), MATLAB_object_decode=np.int32(3))
        file["a"] = np.eye(2)
        file["cells"] = np.array([[file["a"].ref]], h5py.ref_dtype)
        file["cells"].attrs["MATLAB_class"] = np.bytes_("cell")
        file["many"] = np.array([[file["a"].ref]], h5py.ref_dtype)
        file.create_group("#refs#")
    assert {name: item.kind for name, item in read_mat(tmp_path / "m.mat").items()
            if name != "a"} == {"sys": "an object of class ss", "cells": "a cell array",
                                "many": "an array of structures"}


@pytest.mark.skipif(not BY_MATLAB.is_dir(), reason="this SciPy comes without its test data")
@pytest.mark.parametrize(("file", "name", "expected"), [
    ("testdouble_4.2c_SOL2.mat", "testdouble", (1, 9)),
    ("testsparse_6.1_SOL2.mat", "testsparse", (3, 5)),
    ("testcomplex_7.4_GLNX86.mat", "testcomplex", (1, 9)),
    ("testhdf5_7.4_GLNX86.mat", "testdouble", (1, 9)),
    ("testbool_8_WIN64.mat", "testbools", (2, 1)),
    ("testcell_7.4_GLNX86.mat", "testcell", "a cell array"),
    ("teststructarr_7.4_GLNX86.mat", "teststructarr", "an array of 2 structures"),
    ("testobject_7.4_GLNX86.mat", "testobject", "an object of class inline"),
    ("testmatlabstring_7_WIN64.mat", "matstring1", "an object of class string"),
    ("testfunc_7.4_GLNX86.mat", "testfunc", "a function"),
    ("teststring_7.4_GLNX86.mat", "teststring", "text"),
])
def test_what_matlab_wrote(file, name, expected):
    found = read_mat(BY_MATLAB / file)[name]
    assert (found.kind if isinstance(found, NotNumbers) else found.shape) == expected


@pytest.mark.skipif(not BY_MATLAB.is_dir(), reason="this SciPy comes without its test data")
@pytest.mark.parametrize("file", ["corrupted_zlib_checksum.mat", "corrupted_zlib_data.mat",
                                  "malformed1.mat", "bad_miuint32.mat"])
def test_damaged_files(file):
    with pytest.raises(InputError, match=rf"{file}: cannot be read"):
        read_mat(BY_MATLAB / file)


def test_sparse_matrix_with_wrong_pointers(tmp_path):
    write_hdf5(tmp_path / "m.mat", A=sp.csc_array(np.eye(3)))
    with h5py.File(tmp_path / "m.mat", "r+") as file:
        file["A/ir"][1] = 7
    with pytest.raises(InputError, match=r"m\.mat: cannot be read"):
        read_mat(tmp_path / "m.mat")


def test_no_matlab_file(tmp_path):
    (tmp_path / "text.mat").write_text("nothing")
    with pytest.raises(InputError, match="cannot be read"):
        read_mat(tmp_path / "text.mat")
