"""Transducer files: every shipped one, a user's own, element lists, and one error per fault."""

import numpy as np
import pytest
import yaml

from hifuflow.study.transducer_file import COLUMNS, TRANSDUCERS, load_device
from hifuflow.study.yaml_file import read_yaml

HEADER = ",".join(COLUMNS)
CHOICE = {"name": "./own.yaml", "failed_elements": []}
LIST = {"description": "d", "source": "s", "kind": "elements", "frequency_hz": 1e6,
        "radius_of_curvature_m": 0.1, "elements": "discs.csv", "max_power_w": 10,
        "max_steering_m": {"lateral": 0.01, "axial": 0.01}}
GOOD = ["0,0,0,0,0,1,0.003", "0.01,0,0.0005,-0.1,0,0.995,0.004", "", "-0.01,0,0,0,0,2,0.003"]


@pytest.fixture
def own(tmp_path):
    """Write a transducer file, and its element list, beside a patient file; load it."""
    def write(lines=GOOD, choice=None, **changes):
        (tmp_path / "discs.csv").write_text("\n".join([HEADER, *lines]))
        content = {key: value for key, value in {**LIST, **changes}.items() if value is not None}
        (tmp_path / "own.yaml").write_text(yaml.safe_dump(content))
        return load_device({**CHOICE, **(choice or {})}, tmp_path / "anna.yaml")
    return write


@pytest.mark.parametrize("file", sorted(TRANSDUCERS.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_shipped_transducer_loads_and_says_where_it_comes_from(file):
    device, faults = load_device({"name": file.stem, "failed_elements": []}, "anna.yaml")
    assert faults == []
    assert len(device["weights"]) == device["n_elements"] and set(device["weights"]) == {1.0}
    content = read_yaml(file)
    assert len(content["source"]) > 40 and len(content["assumed"]) > 40
    assert not {"source", "assumed", "description"} & device.keys()


def test_own_transducer_lies_beside_the_patient_file(own):
    device, faults = own()
    assert faults == [] and device["name"] == "own" and device["file"] == "./own.yaml"
    rows = np.array(device["elements"])
    assert rows.shape == (3, 7) and device["n_elements"] == 3
    np.testing.assert_allclose(np.linalg.norm(rows[:, 3:6], axis=1), 1)
    # The tilted disc reaches x = 10 mm + 4 mm cos(tilt).
    tilt = np.hypot(0.1, 0.995)
    assert device["aperture_m"] == pytest.approx(2 * (0.01 + 0.004 * 0.995 / tilt))


@pytest.mark.parametrize(("lines", "words"), [
    (["0,0,0,0,0,1"], "line 2 has 6 values"),
    ([GOOD[0], "0.01,0,zero,0,0,1,0.003"], "line 3 holds something that is not a number"),
    ([GOOD[0], "", "0.01,0,nan,0,0,1,0.003"], "line 4 holds a number that is not finite"),
    (["0,0,0,0,0,1,0"], "line 2 has a radius that is not positive"),
    (["0,0,0,0,0,0,0.003"], "line 2 has a normal without a direction"),
    (["0,0,0,0,0,-1,0.003"], "line 2 faces away from the geometric focus"),
    ([GOOD[0], GOOD[1], "0,0.005,0,0,0,1,0.003"], "the discs of lines 2 and 4 overlap by 1 mm"),
    ([], "holds 0 elements"),
    (["\x00"], "line 2 has 1 values"),
])
def test_faults_of_an_element_list_name_its_line(own, tmp_path, lines, words):
    _, faults = own(lines)
    assert len(faults) == 1 and words in str(faults[0])
    assert faults[0].file == tmp_path / "discs.csv" and faults[0].key == "elements"


def test_list_without_header_or_file_is_refused(own, tmp_path):
    own()
    for content in (b"", b"x,y,z\n1,2,3\n", b"\xff\xfe"):
        (tmp_path / "discs.csv").write_bytes(content)
        _, faults = load_device(CHOICE, tmp_path / "anna.yaml")
        assert len(faults) == 1 and faults[0].allowed
    (tmp_path / "discs.csv").unlink()
    assert "cannot be read" in str(load_device(CHOICE, tmp_path / "anna.yaml")[1][0])


@pytest.mark.parametrize(("changes", "key", "words"), [
    ({"elements": None}, "elements", "needed by the kind elements"),
    ({"n_elements": 3}, "n_elements", "does not belong to the kind elements"),
    ({"kind": "bowl"}, "aperture_m", "needed by the kind bowl"),
    ({"kind": "bowl", "elements": None, "aperture_m": 0.2}, "aperture_m", "wider than a hemi"),
    ({"kind": "bowl", "elements": None, "aperture_m": 0.1, "inner_aperture_m": 0.1},
     "inner_aperture_m", "no room"),
    ({"kind": "annular", "elements": None, "rings_m": [[0, 0.02], [0.01, 0.03]]}, "rings_m",
     "overlap"),
    ({"kind": "annular", "elements": None, "rings_m": [[0.02, 0.02]]}, "rings_m", "empty"),
    ({"kind": "annular", "elements": None, "rings_m": [[0, 0.1]]}, "rings_m", "hemisphere"),
    ({"failed_elements": [4]}, "failed_elements", "no such element"),
    ({"failed_elements": [0]}, "failed_elements.0", "out of range"),
    ({"failed_elements": [1, 2, 3]}, "transducer", "no element is left"),
    ({"apodisation": [1, 1]}, "apodisation", "has 2 numbers"),
])
def test_faults_of_a_transducer_file(own, changes, key, words):
    _, faults = own(**changes)
    assert any(fault.key == key and words in str(fault) for fault in faults), faults


def test_failed_and_apodised_elements_take_power_with_them(own):
    whole = own()[0]
    device, faults = own(failed_elements=[1], choice={"apodisation": [1, 0.5, 1],
                                                      "failed_elements": [3]})
    assert faults == [] and device["weights"] == [0, 0.5, 0]
    share = 0.25 * 0.004**2 / (0.004**2 + 2 * 0.003**2)
    assert device["max_power_w"] == pytest.approx(share * whole["max_power_w"])


def test_unknown_transducer_is_named(tmp_path):
    for name in ("random25", "./nowhere.yaml", "my_array.yaml"):
        _, faults = load_device({"name": name, "failed_elements": []}, tmp_path / "anna.yaml")
        assert "random256" in faults[0].allowed and faults[0].key == "transducer.name"
