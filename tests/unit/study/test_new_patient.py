"""`hifuflow new`: a starter that can be treated, or that names what is to be filled in."""

import nibabel as nib
import numpy as np
import pytest

from hifuflow.errors import InputError, InvalidConfig
from hifuflow.study.command_line import main
from hifuflow.study.inspect_labels import known_tissues
from hifuflow.study.patient import load_patient
from hifuflow.study.region_guesses import FILL_IN, guess_regions, is_target, tissue_of
from hifuflow.study.starter import scalar, write_starter
from hifuflow.study.yaml_file import parse_yaml, read_yaml

BODY, TUMOUR, WALL, ROUND = 1, 2, 3, 4


def half_ball(path, names, lumps=1):
    """A half ball of body with a tumour in front of a wall, on a 3 mm grid, front along -S."""
    i, j, k = np.meshgrid(*(np.arange(n) for n in (41, 41, 26)), indexing="ij")
    labels = np.where((i - 20) ** 2 + (j - 20) ** 2 + (k - 22) ** 2 <= 20 ** 2, BODY, 0)
    labels[(labels == BODY) & (k >= 23)] = WALL
    for lump in range(lumps):
        labels[(i - 20 - 9 * lump) ** 2 + (j - 20) ** 2 + (k - 12) ** 2 <= 3 ** 2] = TUMOUR
    labels[0] = ROUND
    image = nib.Nifti1Image(labels.astype(np.int16), np.diag([3.0, 3, 3, 1]))
    table = "".join(f'<Label Key="{key}"><![CDATA[{name}]]></Label>' for key, name in names.items())
    image.header.extensions.append(nib.nifti1.Nifti1Extension(
        0, f"<CaretExtension><LabelTable>{table}</LabelTable></CaretExtension>".encode()))
    path.parent.mkdir(exist_ok=True, parents=True)
    nib.save(image, path)
    return path


NAMED = {BODY: "Fat", TUMOUR: "Tumor, left", WALL: "Pectoral muscle", ROUND: "background"}


def test_a_map_with_telling_names_can_be_treated_as_it_is(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    half_ball(tmp_path / "scans" / "anna.seg.nii.gz", NAMED)
    assert main(["new", "scans/anna.seg.nii.gz"]) == 0
    assert "to be filled in" not in capsys.readouterr().out
    written = read_yaml("anna.yaml")
    assert written["anatomy"] == {"labels": "scans/anna.seg.nii.gz", "outside": [ROUND]}
    assert written["regions"] == {
        "fat": {"labels": [BODY], "tissue": "fat"},
        "tumour_left": {"labels": [TUMOUR], "tissue": "tumour"},
        "pectoral_muscle": {"labels": [WALL], "tissue": "muscle"}}
    assert written["target"] == {"region": "tumour_left"}
    assert main(["validate", "anna.yaml"]) == 0
    assert "usable. Target 3.32 ml" in capsys.readouterr().out


def test_a_folder_that_is_not_there_is_made(tmp_path):
    half_ball(tmp_path / "anna.nii.gz", NAMED)
    path, _ = write_starter(tmp_path / "anna.nii.gz", tmp_path / "new" / "study" / "anna.yaml")
    assert load_patient(path).scan == str(tmp_path / "anna.nii.gz")


def test_guesses_are_marked_and_certain_tissues_are_not(tmp_path):
    path, _ = write_starter(half_ball(tmp_path / "anna.nii.gz", NAMED), tmp_path / "anna.yaml")
    line = {text.split(":")[0].strip(): text for text in path.read_text().splitlines()}
    assert "#" not in line["fat"]
    assert "# tissue: a guess" in line["tumour_left"] and '"Tumor, left"' in line["tumour_left"]
    assert "# a guess" in line["region"]
    assert "# no body: a guess" in line["outside"]


def test_what_names_do_not_tell_is_named_by_validate(tmp_path, capsys):
    half_ball(tmp_path / "anna.nii.gz", {BODY: "breast", WALL: "Muskel"})
    path, missing = write_starter(tmp_path / "anna.nii.gz", tmp_path / "anna.yaml")
    assert missing == ["regions.breast.tissue", "regions.label_2.tissue", "regions.muskel.tissue",
                       "regions.label_4.tissue", "target.region"]
    assert path.read_text().count("FILL IN") == len(missing)
    assert main(["validate", str(path)]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == len(missing)
    for key in missing:
        assert any(f"{key} = 'FILL_IN'" in error for error in errors)
    assert "fat, gas, gland" in errors[0]


def test_of_several_targets_a_person_chooses(tmp_path):
    half_ball(tmp_path / "a.nii.gz",
              {BODY: "lesion 1", TUMOUR: "lesion 2", WALL: "fat", ROUND: "skin"})
    path, missing = write_starter(tmp_path / "a.nii.gz", tmp_path / "a.yaml")
    assert missing == ["target.region"]
    assert "FILL IN the region to be treated: lesion_1, lesion_2" in path.read_text()


def test_a_target_in_pieces_is_pointed_out(tmp_path):
    path, _ = write_starter(half_ball(tmp_path / "a.nii.gz", NAMED, lumps=2), tmp_path / "a.yaml")
    assert "It has 2 pieces" in path.read_text()
    assert "pieces" not in write_starter(half_ball(tmp_path / "b.nii.gz", NAMED),
                                         tmp_path / "b.yaml")[0].read_text()


@pytest.mark.parametrize("name", ["anna.yaml", "link.yaml"])
def test_nothing_is_overwritten(tmp_path, name):
    half_ball(tmp_path / "anna.nii.gz", NAMED)
    (tmp_path / "anna.yaml").write_text("mine")
    (tmp_path / "link.yaml").symlink_to("anna.yaml")
    with pytest.raises(InputError, match="is there already"):
        write_starter(tmp_path / "anna.nii.gz", tmp_path / name)
    assert (tmp_path / "anna.yaml").read_text() == "mine"


def test_a_file_that_appears_meanwhile_is_not_overwritten(tmp_path, monkeypatch):
    half_ball(tmp_path / "anna.nii.gz", NAMED)
    monkeypatch.setattr("hifuflow.study.starter.starter", lambda *_: (
        (tmp_path / "anna.yaml").write_text("mine"), ["", []])[1])
    with pytest.raises(InputError, match="is there already"):
        write_starter(tmp_path / "anna.nii.gz", tmp_path / "anna.yaml")
    assert (tmp_path / "anna.yaml").read_text() == "mine"


@pytest.mark.parametrize(("file", "output", "message"), [
    ("nowhere.nii.gz", "a.yaml", "nowhere.nii.gz: no such file"),
    ("anna.nii.gz", "a b.yaml", "not a usable name"),
    ("anna.nii.gz", "a.txt", "not a usable name"),
    ("anna.nii.gz", "notes.txt/a.yaml", "cannot be written"),
    ("scan.nii.gz", "a.yaml", "label map of at most 400"),
    ("empty.nii.gz", "a.yaml", "the label map is empty"),
    ("body.msh", "a.yaml", "not a readable mesh"),
    ("notes.txt", "a.yaml", "not a known kind of image"),
])
def test_what_makes_no_patient_file_is_refused(tmp_path, file, output, message):
    half_ball(tmp_path / "anna.nii.gz", NAMED)
    values = np.arange(1000, dtype=np.int16).reshape(10, 10, 10)
    nib.save(nib.Nifti1Image(values, np.eye(4)), tmp_path / "scan.nii.gz")
    nib.save(nib.Nifti1Image(0 * values, np.eye(4)), tmp_path / "empty.nii.gz")
    for name in ("body.msh", "notes.txt"):
        (tmp_path / name).write_text("text")
    with pytest.raises(InputError, match=message):
        write_starter(tmp_path / file, tmp_path / output)
    assert not list(tmp_path.glob("**/*.yaml"))


@pytest.mark.parametrize(("segmentation", "patient"), [
    ("anna.seg.nii.gz", "anna.yaml"), ("Anna, 1.nii", "Anna__1.yaml"), ("ü.nii.gz", "patient.yaml"),
    ("v1.2_anna.nii.gz", "v1_2_anna.yaml")])
def test_the_patient_is_called_as_the_segmentation(tmp_path, monkeypatch, segmentation, patient):
    monkeypatch.chdir(tmp_path)
    path, _ = write_starter(half_ball(tmp_path / "d" / segmentation, NAMED))
    assert str(path) == patient
    assert load_patient(path).scan == str(tmp_path / "d" / segmentation)


@pytest.mark.parametrize("text", ["anna.nii.gz", "../a b.nii", "a: b.nii", "1e6", "12", "yes",
                                  "a#b", "a #b", "[a]", "{a", "'a", 'a"b', "a,b", "*a", "@a",
                                  "null", "-", "~", "é.nii", " a", "2020-01-01", "a]"])
def test_any_file_name_survives(text):
    assert parse_yaml(f"key: {scalar(text)}  # remark") == {"key": text}


def test_layers_are_taken_by_name_and_smallest_first():
    rows = [{"label": 1, "name": "Body", "voxels": 900, "components": 1, "ml": 1.0},
            {"label": 1, "name": "Läsion", "voxels": 9, "components": 1, "ml": 1.0}]
    first, second = guess_regions(rows, True, known_tissues())
    assert (first.name, first.label) == ("lasion", '"Läsion"')
    assert (second.name, second.label, second.tissue) == ("body", '"Body"', "soft_tissue")
    assert [region.label for region in guess_regions(rows, False, known_tissues())] == ["1", "1"]


def test_names_of_regions_are_usable_and_differ():
    rows = [{"label": label, "name": name, "voxels": 1, "components": 1, "ml": 1.0}
            for label, name in enumerate(["Liver", "liver", "LIVER!", "3rd rib", None, "腫瘍"], 1)]
    names = [region.name for region in guess_regions(rows, False, known_tissues())]
    assert names == ["liver", "liver_2", "liver_3", "region_3rd_rib", "label_5", "label_6"]


@pytest.mark.parametrize(("name", "tissue"), [
    ("rib left 4", "bone"), ("vertebrae l5", "bone"), ("gluteus maximus left", "muscle"),
    ("lung upper lobe", "lung"), ("soft tissue", "soft_tissue"), ("adrenal gland right", None),
    ("breast gland", "gland"), ("gland", "gland"), ("stomach", None), ("", None)])
def test_tissues_from_names(name, tissue):
    assert tissue_of(name.split(), known_tissues()) == tissue


@pytest.mark.parametrize(("name", "expected"), [
    ("tumour", True), ("breasttumor", True), ("gtvp1", True), ("liver lesion", True),
    ("metastases", True), ("uterine fibroid 2", True), ("non tumour", False),
    ("peritumoural fat", False), ("healthy liver without lesion", False), ("liver", False),
    ("nontumor", False), ("ptv", False)])
def test_targets_from_names(name, expected):
    assert is_target(name.split()) == expected


def test_a_lesion_of_an_organ_is_not_made_of_the_organ():
    rows = [{"label": 1, "name": "liver tumor", "voxels": 1, "components": 1, "ml": 1.0}]
    region, = guess_regions(rows, False, known_tissues())
    assert (region.tissue, region.target, region.certain) == ("tumour", True, False)


def test_fill_in_is_no_tissue():
    assert FILL_IN not in known_tissues()
    assert issubclass(InvalidConfig, InputError)
