"""Controllers from a user's own file: `./FILE.py:CLASS` in a patient file."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import inspect
import re
import sys
from contextlib import contextmanager
from pathlib import Path

from hifuflow.controller.failure import failure
from hifuflow.errors import InputError
from hifuflow.provenance import syntax

FORM = re.compile(r"(?P<file>.+\.py):(?P<class_name>\w+)")
WORD_ENDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
PLAIN = re.compile(r"[a-z][a-z0-9_]*")


def plain_name(class_name: str) -> str:
    """What files and sections call a class: `Gentle` is `gentle`, `PowerRamp` is `power_ramp`."""
    return WORD_ENDS.sub("_", class_name).lower()


def load_class(file, class_name: str):
    """Import a file and return one of its controllers.

    Raises
    ------
    InputError : there is no such file, it cannot be imported, or it holds no such class, or one
        that is no controller.
    """
    from .base import Controller  # not above: only runs with own controllers need it

    file = Path(file)
    if not file.is_file():
        raise InputError("no such file", value=str(file), allowed="a Python file")
    loaded = getattr(_imported(file), class_name, None)
    if not inspect.isclass(loaded):
        module_classes = [name for name, value in vars(sys.modules[_module_name(file)]).items()
                          if inspect.isclass(value) and issubclass(value, Controller)
                          and value is not Controller]
        raise InputError(f"{file.name} holds no such class", value=class_name,
                         allowed=", ".join(module_classes) or f"a class that derives from "
                                                              f"{_full_name(Controller)}")
    if not issubclass(loaded, Controller):
        raise InputError("is no controller", value=class_name,
                         allowed=f"a class that derives from {_full_name(Controller)}")
    if inspect.isabstract(loaded):
        raise InputError(f"does not define {', '.join(sorted(loaded.__abstractmethods__))}",
                         value=class_name, allowed="see the methods of Controller")
    return loaded


def code_sha256(file) -> str:
    """Hash of a file and of the modules beside it that it imports, directly or through others.

    Comments, docstrings and formatting do not count, as in `provenance.code_hash`.
    """
    digest = hashlib.sha256()
    folder = Path(file).parent
    for path in sorted(_reached(Path(file))):
        digest.update(str(path.relative_to(folder)).encode())
        digest.update(syntax(path).encode())
    return digest.hexdigest()


def _full_name(controller: type) -> str:
    return f"{controller.__module__}.{controller.__qualname__}"


def _module_name(file: Path) -> str:
    return f"own_{hashlib.sha256(str(file.resolve()).encode()).hexdigest()[:12]}_{file.stem}"


def _imported(file: Path):
    """The file as a module, under a name that no other file has."""
    name = _module_name(file)
    spec = importlib.util.spec_from_file_location(name, file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with _modules_beside(file.parent):
            spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # whatever a file does when it is imported
        del sys.modules[name]
        raise InputError(f"cannot be imported: {failure(error)}",
                         value=str(file)) from error
    return module


@contextmanager
def _modules_beside(folder: Path):
    """Modules beside a file are found first while it is imported, as when Python runs it.

    They are forgotten then: another folder may have one of the same name.
    """
    before = set(sys.modules)
    importlib.invalidate_caches()
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in set(sys.modules) - before:
            origin = getattr(sys.modules[name], "__file__", None)
            if origin and Path(origin).is_relative_to(folder):
                del sys.modules[name]


def _reached(file: Path) -> set[Path]:
    todo, seen = [file], set()
    while todo:
        path = todo.pop()
        if path not in seen:
            seen.add(path)
            todo += _imports_beside(path, file.parent)
    return seen


def _imports_beside(path: Path, folder: Path) -> list[Path]:
    """Files in a folder that a module imports anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            inside = path.parent.relative_to(folder).parts[:-node.level + 1 or None]
            base = ".".join([*(inside if node.level else ()), *filter(None, [node.module])])
            names.update({base} | {f"{base}.{alias.name}".strip(".") for alias in node.names})
    loaded = []
    for name in names:
        parts = name.split(".")
        for depth in range(1, len(parts) + 1):
            stem = folder.joinpath(*parts[:depth])
            loaded += [file for file in (stem.with_suffix(".py"), stem / "__init__.py")
                      if file.is_file()]
    return loaded
