"""Every field of every record comes back as it was written."""

from dataclasses import is_dataclass

import h5py
import numpy as np
import pytest
from record_examples import (
    FILES,
    Values,
    all_records,
    differences,
    entries,
    example,
    optional,
    save,
    without,
)

from hifuflow.records.heating import HeatingFile
from hifuflow.records.plan import Plan
from hifuflow.records.trajectory import Trajectory


def parts(record) -> list:
    """The record and all records in it."""
    inside = [value for value in entries(record).values() if is_dataclass(value)]
    return [record, *(part for one in inside for part in parts(one))]


def test_every_record_has_an_example():
    """A new record or field is filled in `record_examples`; then the tests below store it."""
    shown = {type(part) for name in FILES for part in parts(example(name))}
    # HeatingFile holds nothing: it writes a heating, see test_record_files.py.
    assert shown == set(all_records().values()) - {HeatingFile}


@pytest.mark.parametrize("name", FILES)
def test_examples_hold_no_number_twice(name):
    values = [value for part in parts(example(name)) for value in entries(part).values()
              if isinstance(value, np.ndarray) and value.dtype.kind == "f"]
    given = np.concatenate([value.ravel() for value in values if value.shape != (4, 4)])
    given = given[np.isfinite(given)]
    assert len(given) >= 3 and len(np.unique(given)) == len(given)


@pytest.mark.parametrize("name", FILES)
def test_every_field_comes_back_as_it_was(name, tmp_path):
    record = example(name)
    assert differences(type(record).load(save(record, tmp_path)), record) == []


@pytest.mark.parametrize("name", FILES)
def test_a_field_that_is_left_out_comes_back_as_its_default(name, tmp_path):
    record = example(name)
    leave_out = [*map(lambda one: [one], optional(type(record))), optional(type(record))]
    for number, names in enumerate(leave_out):
        less = without(record, names)
        assert [field for field in names
                if not differences(getattr(less, field), getattr(record, field))] == []
        path = save(less, tmp_path / str(number))
        assert differences(type(less).load(path), less) == [], names


@pytest.mark.parametrize("name", ["bioheat_model", "reduced_model", "trajectory"])
def test_outputs_that_were_left_out_come_back_as_their_defaults(name, tmp_path):
    record = example(name)
    record.outputs = without(record.outputs, optional(type(record.outputs)))
    np.testing.assert_array_equal(record.outputs.mean_baseline, record.outputs.baseline)
    assert set(record.outputs.name) | set(record.outputs.region) == {""}
    assert np.isnan(record.outputs.dose_limit).all() and not record.outputs.soft.any()
    assert differences(type(record).load(save(record, tmp_path)), record) == []


@pytest.mark.parametrize("group, name", [
    ("outputs", "bioheat_model"), ("outputs", "reduced_model"), ("outputs", "trajectory"),
    ("", "bioheat_model"), ("", "reduced_model"), ("", "heating")])
def test_a_file_from_elsewhere_needs_no_optional_field(group, name, tmp_path):
    """Each is deleted from the file by itself, and then all of them."""
    record = example(name)
    whole = getattr(record, group) if group else record
    names = optional(type(whole))
    for number, gone in enumerate([*([one] for one in names), names]):
        path = save(record, tmp_path / str(number))
        with h5py.File(path, "a") as file:
            for field in gone:
                del file[f"{group}/{field}"]
        again = type(record).load(path)
        less = without(whole, gone)
        assert differences(getattr(again, group) if group else again, less) == [], gone


def test_nothing_to_store_is_stored(tmp_path):
    """No event, no snapshot, no constraint point, no focus."""
    values = Values()
    record = values.trajectory(n_t=4)
    for name in ("event_time", "event", "snapshot_t", "snapshot_temperature", "snapshot_voxel",
                 "snapshot_dose"):
        setattr(record, name, getattr(record, name)[:0])
    assert differences(Trajectory.load(save(record, tmp_path)), record) == []
    plan = without(values.plan(), ["apex_shift"])
    plan.foci, plan.apex_shift = plan.foci[:0], plan.apex_shift[:0]
    assert differences(Plan.load(save(plan, tmp_path)), plan) == []
