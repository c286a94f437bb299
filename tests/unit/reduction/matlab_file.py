"""Files of MATLAB's version 7.3, laid out as MATLAB does: columns first, sparse ones as groups."""

import h5py
import numpy as np
import scipy.sparse as sp


def write_hdf5(path, **variables):
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, value in variables.items():
            put(file, name, value)


def put(group, name, value):
    value = value if isinstance(value, dict | str) or sp.issparse(value) else np.atleast_2d(value)
    if isinstance(value, dict):
        sub = group.create_group(name)
        sub.attrs["MATLAB_class"] = np.bytes_("struct")
        for field, item in value.items():
            put(sub, field, item)
    elif sp.issparse(value):
        matrix, sub = sp.csc_array(value), group.create_group(name)
        sub.attrs.update(MATLAB_class=np.bytes_("double"), MATLAB_sparse=np.uint64(value.shape[0]))
        sub["jc"] = matrix.indptr.astype(np.uint64)
        if matrix.nnz:
            sub["ir"], sub["data"] = matrix.indices.astype(np.uint64), matrix.data
    elif isinstance(value, str):
        group[name] = np.array([[ord(letter)] for letter in value], np.uint16)
        group[name].attrs["MATLAB_class"] = np.bytes_("char")
    elif value.size == 0:
        group[name] = np.array(value.shape, np.uint64)
        group[name].attrs.update(MATLAB_class=np.bytes_("double"), MATLAB_empty=np.uint8(1))
    else:
        if np.iscomplexobj(value):
            pairs = np.empty(value.T.shape, [("real", float), ("imag", float)])
            pairs["real"], pairs["imag"] = value.T.real, value.T.imag
            group[name] = pairs
        else:
            group[name] = value.T.astype(np.uint8) if value.dtype == bool else value.T
        group[name].attrs["MATLAB_class"] = np.bytes_("double")
