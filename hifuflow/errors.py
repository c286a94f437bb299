"""Errors that a user sees: each names where the fault is and what would be right."""

from __future__ import annotations

LONGEST = 200  # characters of a value that a message shows
MOST = 20  # faults that a message lists


class HifuflowError(Exception):
    """Base class of all errors for users: one paragraph in plain words, shown without traceback."""


class InputError(HifuflowError):
    """A file, key or value that cannot be used.

    Parameters
    ----------
    problem : what is wrong, in words.
    file : the file the value stands in.
    key : dotted key inside the file, e.g. ``mesh.control.cells``.
    value : the offending value.
    allowed : what would be accepted.
    """

    def __init__(self, problem, *, file=None, key=None, value=None, allowed=None):
        self.problem, self.file, self.key = problem, file, key
        self.value, self.allowed = value, allowed
        parts = [str(file)] if file is not None else []
        if key is not None:
            parts.append(f"{key}" if value is None else f"{key} = {_shown(value)}")
        text = ": ".join([*parts, problem])
        if allowed is not None:
            text += f" (allowed: {allowed})"
        super().__init__(text)


def _shown(value) -> str:
    """A value as it would be written, without its middle if it is long."""
    text = repr(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST // 2]} ... {text[-LONGEST // 4:]}"


class DamagedFile(InputError):
    """A file of the workflow whose content is not what was written; `detail` says what is wrong."""

    def __init__(self, file, detail: str):
        super().__init__(f"is damaged or was replaced ({detail}). If a run made it, delete it: "
                         "the next run that needs it makes it again", file=file)


class InvalidConfig(InputError):
    """All faults of a patient's configuration and data at once."""

    def __init__(self, faults: list[InputError]):
        self.faults = faults
        lines = [str(fault) for fault in faults[:MOST]]
        if len(faults) > MOST:
            lines.append(f"and {len(faults) - MOST} more faults")
        Exception.__init__(self, "\n".join(lines))


def raise_faults(faults: list[InputError]) -> None:
    """Raise a single fault as it is, several as one `InvalidConfig`; do nothing without any."""
    if faults:
        raise faults[0] if len(faults) == 1 else InvalidConfig(faults)


class StorageError(HifuflowError):
    """A folder that cannot be written to, or a disk that is full."""


class NumericalError(HifuflowError):
    """A computation that failed its own accuracy check; the numbers are in the message."""
