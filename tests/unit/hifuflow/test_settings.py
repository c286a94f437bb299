"""The configuration is read in `settings.py` of each stage, once, and nowhere else in a stage."""

import ast
import dataclasses
import importlib
import re

import pytest
import yaml

from hifuflow.errors import InputError
from hifuflow.provenance import ROOT, STAGES
from hifuflow.settings import Written

READERS = [path for stage in STAGES for path in sorted((ROOT / stage).glob("*settings.py"))]
READ_BESIDE = (ROOT / "controller" / "methods" / "option.py",  # each method's own section
               ROOT / "controller" / "ensemble.py")  # what is drawn for a treatment
# Keys that files of results have as well.
IN_ARTIFACTS = {"limit_c", "dose_limit_cem43_min", "max_power_w", "power_w", "frequency_hz",
                "begins_s"}
UNIT = re.compile(r"_(mm3?|m|c|k|s|w|hz|min|mhz|[a-z]+2?_k|m3|m3_s|m_s)$")
ONLY_FOR_READERS = {"MILLIMETRE", "metres", "unless_auto"}


def schema_keys(node) -> set[str]:
    """All keys that a schema describes."""
    if isinstance(node, list):
        return set().union(*map(schema_keys, node))
    if not isinstance(node, dict):
        return set()
    return set(node.get("properties", {})).union(*map(schema_keys, node.values()))


KEYS = {key for path in (ROOT / "workflow" / "schemas").glob("*.yaml")
        for key in schema_keys(yaml.safe_load(path.read_text())) if UNIT.search(key)}


def is_message(call: ast.Call) -> bool:
    """Whether a call makes an error, or gets the section as it was written to make one."""
    named = [getattr(node, "attr", getattr(node, "id", ""))
             for node in (call.func, *call.args)]
    return named[0] in ("error", "fault", "InputError") or "written" in named[1:]


def faults(code: str) -> list[str]:
    """Where a module reads keys of the configuration, takes a section or converts millimetres."""
    tree = ast.parse(code)
    told = {part for node in ast.walk(tree) if isinstance(node, ast.Call) and is_message(node)
            for part in ast.walk(node)}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant):
            if node.value in KEYS - IN_ARTIFACTS and node not in told:
                found.append((node.lineno, f"the key {node.value}"))
        elif isinstance(node, ast.BinOp | ast.AugAssign):
            if any(isinstance(part, ast.Constant) and ast.get_source_segment(code, part) == "1e-3"
                   for part in ast.iter_child_nodes(node)):
                found.append((node.lineno, "a conversion from millimetres"))
        elif isinstance(node, ast.arg) and node.arg in ("config", "section"):
            found.append((node.lineno, f"the argument {node.arg}"))
        elif isinstance(node, ast.ImportFrom) and node.module == "hifuflow.settings":
            found += [(node.lineno, f"the import of {name.name}") for name in node.names
                      if name.name in ONLY_FOR_READERS]
    return [f"line {line}: {what}" for line, what in sorted(found)]


@pytest.mark.parametrize("stage", STAGES)
def test_no_stage_reads_the_configuration_outside_its_settings(stage):
    for path in (ROOT / stage).rglob("*.py"):
        if path not in (*READERS, *READ_BESIDE):
            assert faults(path.read_text()) == [], path


@pytest.mark.parametrize("code, words", [
    ('def place(constraint): return constraint["clearance_mm"]', "clearance_mm"),
    ('def place(x): return x.get("spacing_mm", 3)', "spacing_mm"),
    ('def place(x): return [x[key] for key in ("cells", "tolerance_k")]', "tolerance_k"),
    ("def place(config): return config", "argument config"),
    ("def place(clearance): return clearance * 1e-3", "millimetres"),
    ("def place(clearance):\n    clearance *= 1e-3", "millimetres"),
    ("from hifuflow.settings import Written, metres", "import of metres"),
])
def test_the_law_sees_each_way_to_break_it(code, words):
    (fault,) = faults(code)
    assert words in fault


def test_the_law_lets_messages_name_their_key():
    assert faults('raise settings.written.error("too near", "clearance_mm")') == []
    assert faults('voxel(labels, shape.centre, shape.written, "centre_mm")') == []


def settings_classes():
    modules = ["hifuflow.settings"] + [
        ".".join(("hifuflow", *path.relative_to(ROOT).with_suffix("").parts)) for path in READERS]
    for module in map(importlib.import_module, modules):
        for value in vars(module).values():
            if isinstance(value, type) and value.__module__ == module.__name__:
                yield value


@pytest.mark.parametrize("kind", list(settings_classes()), ids=lambda kind: kind.__name__)
def test_settings_are_immutable_and_in_si_units(kind):
    assert dataclasses.is_dataclass(kind) and kind.__dataclass_params__.frozen
    assert not [field.name for field in dataclasses.fields(kind) if UNIT.search(field.name)]
    assert kind.__doc__ and not kind.__doc__.startswith(kind.__name__ + "(")


def test_a_fault_is_told_as_it_was_written():
    section = Written("anna.yaml", "", {"foci": {"spacing_mm": 3.5}}).part("foci")
    error = section.error("is too wide", "spacing_mm", allowed="less")
    assert isinstance(error, InputError)
    assert str(error) == "anna.yaml: foci.spacing_mm = 3.5: is too wide (allowed: less)"
    assert str(section.error("none fits")) == "anna.yaml: foci: none fits"
    other = section.error("too far", "spacing_mm", value=[1, 2])
    assert str(other) == "anna.yaml: foci.spacing_mm = [1, 2]: too far"
