"""A workflow script loads, calls and saves; what computes can be imported and tested."""

import ast

import pytest

from hifuflow.provenance import ROOT

SCRIPTS = sorted((ROOT / "workflow" / "scripts").glob("*.py"))
LONGEST = 25  # lines
LIBRARIES = {"hifuflow", "pathlib"}
BUILTINS = {"int"}  # a wildcard is text
METHODS = {"load", "load_each", "opened", "save", "read", "create", "complete",
           "from_folder",                                             # of records
           "get", "with_name", "write_text"}                      # of Snakemake and of paths
STATEMENTS = (ast.Import, ast.ImportFrom, ast.With, ast.Assign, ast.Expr)


def is_path(node) -> bool:
    """`folder / "name"`: a path, not a quotient."""
    name = getattr(node.right, "value", "")  # of a constant; an f-string has none and is a text
    return isinstance(node.op, ast.Div) and isinstance(name, str) and (
        isinstance(node.right, ast.Constant | ast.JoinedStr))


def from_snakemake(node) -> bool:
    return ast.unparse(node).startswith(("snakemake.input", "snakemake.output"))


def numerics(source: str) -> list[str]:
    """What a script does besides loading, calling and saving."""
    tree = ast.parse(source)
    imported, found = set(), []
    for node in ast.walk(tree):
        wrong = False
        match node:
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                modules = ([node.module or ""] if isinstance(node, ast.ImportFrom)
                           else [name.name for name in names])
                wrong = not {module.split(".")[0] for module in modules} <= LIBRARIES
                imported |= {name.asname or name.name for name in names}
            case ast.stmt():
                wrong = not isinstance(node, STATEMENTS)
            case ast.BinOp():
                wrong = not is_path(node)
            case ast.UnaryOp() | ast.Compare() | ast.Lambda() | ast.Slice() | ast.MatMult():
                wrong = True
            case ast.comprehension():
                wrong = not from_snakemake(node.iter) or bool(node.ifs)
            case ast.Call(func=ast.Name(id=name)):
                wrong = name not in imported | BUILTINS
            case ast.Call(func=ast.Attribute(attr=name)):
                wrong = name not in METHODS
            case ast.Call():
                wrong = True
        if wrong:
            found.append(f"line {getattr(node, 'lineno', '?')}: {ast.unparse(node)[:60]}")
    return found


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_only_loads_calls_and_saves(path):
    source = path.read_text()
    assert numerics(source) == []
    assert len(source.splitlines()) <= LONGEST


@pytest.mark.parametrize("line", [
    "power = 2 * config['power']", "import numpy as np", "from scipy import linalg",
    "import hifuflow.fem.model, numpy", "for path in snakemake.input: load(path)",
    "while True: pass", "if config['order'] > 3: order = 3", "total += 1", "def area(r): return r",
    "worst = max(model.limit)", "volume = anatomy.labels.sum()", "part = model.K[:3]",
    "model.A[0] = -model.A[0]", "rates = [rate for rate in model.rates]",
    "draws = [path for path in snakemake.input if path]", "shift = folder / 2", "x = A @ b",
    "f = lambda x: x", "value = (load or save)(path)", "ok = a < b", "lambda: 0"])
def test_numerics_in_a_script_are_seen(line):
    assert numerics(f"from hifuflow.job import load, save\n{line}") != []


def test_scripts_are_found():
    assert {path.stem for path in SCRIPTS} >= {"anatomy", "heating", "reduce", "control", "report"}
