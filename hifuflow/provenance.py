"""Origin of files: versions, and hashes of settings and code.

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

PACKAGE = Path(__file__).resolve().parent
STAGES = ("anatomy", "acoustics", "meshes", "fem", "reduction", "controller", "report")
# The folder that holds the stages, config/ and workflow/: the checkout, or in a wheel the package.
ROOT = PACKAGE if (PACKAGE / "fem").is_dir() else PACKAGE.parent


def created_by() -> str:
    """Package and version, as stored in every artifact."""
    try:
        return f"hifuflow {version('hifuflow')}"
    except PackageNotFoundError:
        return "hifuflow (not installed)"


def versions() -> dict[str, str]:
    """Version of Python and of every library that affects the results."""
    names = ("dolfinx-solver-real", "gmsh", "slycot", "numpy", "scipy", "snakemake", "meshio",
             "nibabel", "simpleitk", "highdicom", "scikit-image")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def revision() -> str:
    """Commit of the checkout that this runs from, with "-dirty" if there are uncommitted edits."""
    if ROOT == PACKAGE:  # installed: a repository around the environment is not this project's
        return "not a git checkout"
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "not a git checkout"


def config_hash(section) -> str:
    """SHA-256 of a configuration section, independent of the order of its keys."""
    text = json.dumps(section, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def file_sha256(path) -> str:
    """SHA-256 of a file's bytes."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def code_hash(script) -> str:
    """Hash of a script and of every project module and template that its imports reach."""
    digest = hashlib.sha256()
    for path in sorted(_reached(Path(script).resolve())):
        digest.update(str(path.relative_to(ROOT)).encode())
        digest.update(_syntax(path).encode())
    return digest.hexdigest()


def _reached(script: Path) -> set[Path]:
    todo, seen = [script], set()
    while todo:
        path = todo.pop()
        if path not in seen:
            seen.add(path)
            if path.suffix == ".py":
                todo.extend(imports(path))
    return seen


@cache
def imports(path: Path) -> tuple[Path, ...]:
    """Project files that a module imports anywhere in it, with the packages that hold them."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = _package(path.parent)
                package = package[: len(package) - node.level + 1]
                base = ".".join([*package, *([base] if base else [])])
            names.add(base)
            names.update(f"{base}.{alias.name}" for alias in node.names)
    files: set[Path] = set()
    for name in names:
        parts = name.split(".")
        if parts[0] != "hifuflow":
            continue
        for depth in range(1, len(parts) + 1):
            for folder in {PACKAGE, ROOT}:
                stem = folder.joinpath(*parts[1:depth])
                files.update(p for p in (stem / "__init__.py", stem.with_suffix(".py"))
                             if p.is_file())
    # Templates and style sheets are code too: they belong to the package that loads them.
    templates = path.parent / "templates"
    if templates.is_dir() and '"templates"' in path.read_text():
        files.update(p for p in templates.iterdir() if p.suffix in (".j2", ".css", ".js"))
    return tuple(sorted(files))


def _package(folder: Path) -> tuple[str, ...]:
    """Dotted name of a folder's package, in parts."""
    inside = PACKAGE if folder.is_relative_to(PACKAGE) else ROOT
    return ("hifuflow", *folder.relative_to(inside).parts)


@cache
def _syntax(path: Path) -> str:
    return syntax(path)


def syntax(path: Path) -> str:
    """The part of a file that is hashed: Python's syntax tree without docstrings, else the text."""
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
