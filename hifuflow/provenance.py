"""Who made a file, from which settings and which code.

Snakemake watches only a rule's script, so every rule also carries `code_hash(script)`: a hash
of all project modules that the script imports, directly or through others. Comments, docstrings
and formatting do not count (the syntax tree is hashed), so editing them reruns nothing.
"""

from __future__ import annotations

import ast
import hashlib
import json
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("hifuflow", "meshes", "acoustics", "fem", "reduction", "controller", "report")


def created_by() -> str:
    """Package and version, as written into every artifact."""
    try:
        return f"hifuflow {version('hifuflow')}"
    except PackageNotFoundError:
        return "hifuflow (not installed)"


def versions() -> dict[str, str]:
    """Version of every library whose numbers end up in the results."""
    names = ("dolfinx-solver-real", "gmsh", "slycot", "numpy", "scipy", "snakemake", "meshio",
             "nibabel", "simpleitk", "highdicom", "scikit-image")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def revision() -> str:
    """Commit of the checkout that this runs from, "-dirty" with edits that are in none."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "not a git checkout"


def config_hash(section) -> str:
    """sha256 of a configuration section: equal for equal values, whatever the key order."""
    text = json.dumps(section, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def file_sha256(path) -> str:
    """sha256 of a file's bytes."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def code_hash(script) -> str:
    """Hash of a script and of every project module and template it reaches by its imports."""
    digest = hashlib.sha256()
    for path in sorted(_reached(Path(script).resolve())):
        digest.update(str(path.relative_to(ROOT)).encode())
        digest.update(_tree_dump(path).encode())
    return digest.hexdigest()


def _reached(script: Path) -> set[Path]:
    todo, seen = [script], set()
    while todo:
        path = todo.pop()
        if path not in seen:
            seen.add(path)
            if path.suffix == ".py":
                todo.extend(_imports(path))
    return seen


@cache
def _imports(path: Path) -> tuple[Path, ...]:
    """Project files that a module imports anywhere in it, with the packages that hold them."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = path.parent.relative_to(ROOT).parts
                package = package[: len(package) - node.level + 1]
                base = ".".join([*package, *([base] if base else [])])
            names.add(base)
            names.update(f"{base}.{alias.name}" for alias in node.names)
    found: set[Path] = set()
    for name in names:
        parts = name.split(".")
        if parts[0] not in PACKAGES:
            continue
        for depth in range(1, len(parts) + 1):
            stem = ROOT.joinpath(*parts[:depth])
            found.update(p for p in (stem / "__init__.py", stem.with_suffix(".py")) if p.is_file())
    # Templates and style sheets are code too: they belong to the package that loads them.
    if path.parent.parent == ROOT and '"templates"' in path.read_text():
        found.update(p for p in path.parent.rglob("*.j2") if p.is_file())
        found.update(p for p in path.parent.rglob("*.css") if p.is_file())
        found.update(p for p in path.parent.rglob("*.js") if p.is_file())
    return tuple(sorted(found))


@cache
def _tree_dump(path: Path) -> str:
    if path.suffix != ".py":
        return path.read_text()
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = body[0] if body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                if isinstance(first.value.value, str):
                    node.body = body[1:]
    return ast.dump(tree)
