"""Completions by the Tab key, beside options and ordinary files."""

from __future__ import annotations

ENDINGS = ("yaml", "yml")


def patient_files(prefix: str, **_) -> list[str]:
    """YAML files, and folders on the way to them."""
    from argcomplete.completers import FilesCompleter

    return list(FilesCompleter(ENDINGS)(prefix))


def patients(prefix: str, **_) -> list[str]:
    """YAML files, and the names of the patients that come with the package."""
    from hifuflow.provenance import ROOT

    built_in = (path.stem for path in (ROOT / "config" / "patients").glob("*.yaml"))
    return [*patient_files(prefix), *(name for name in built_in if name.startswith(prefix))]


def folders(prefix: str, **_) -> list[str]:
    """Folders."""
    from argcomplete.completers import DirectoriesCompleter

    return list(DirectoriesCompleter()(prefix))
