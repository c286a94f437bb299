"""Strict reading of YAML files: plain keys, numbers and text, within limits.

The file is read event by event and built here, so that nothing in it can call a constructor, run
for long or fill the memory: bytes, values (with aliases expanded) and depth are limited. What YAML
1.1 reads in unexpected ways is refused: a key given twice, dates, 010 for eight, 1:30 for ninety.
"""

from __future__ import annotations

import copy
import re
import stat
import unicodedata
from pathlib import Path

import yaml

from hifuflow.errors import InputError

MOST_BYTES = 2_000_000
MOST_VALUES = 50_000
DEEPEST = 32
LONGEST_KEY = 200
LARGEST = 2**63 - 1  # of whole numbers

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
TAG = "tag:yaml.org,2002:"
WORDS = {"": None, "~": None, "null": None, "true": True, "false": False, "yes": True, "no": False,
         "on": True, "off": False}
WHOLE = re.compile(r"[-+]?(?:0|[1-9][0-9_]*|0x[0-9a-fA-F]+|0o[0-7]+|0b[01]+)")
DECIMAL = re.compile(r"[-+]?(?:\d[\d_]*(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?")
NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
TRAPS = {  # texts that YAML 1.1 reads as something unexpected
    "a date": re.compile(r"\d{4}-\d\d?-\d\d?(?:[Tt ].*)?"),
    "a number to the base of 60": re.compile(r"[-+]?\d[\d_]*(?::[0-5]?\d)+(?:\.\d*)?"),
    "an octal number": re.compile(r"[-+]?0[0-9_]+"),
}


def read_yaml(path) -> dict:
    """Read a YAML mapping.

    Raises
    ------
    InputError : the file does not exist, is not YAML (with the line), has a key twice, is not a
        mapping, or is too large for a configuration.
    """
    path = Path(path)
    content = parse_yaml(read_text(path, MOST_BYTES, "a YAML file in UTF-8"), path)
    if not isinstance(content, dict):
        raise InputError("must hold keys and values", file=path, allowed="a YAML mapping")
    return content


def parse_yaml(text: str, file=None):
    """Content of a YAML text; `file` is named in errors.

    Raises
    ------
    InputError : see `read_yaml`.
    """
    try:
        return _Builder(yaml.parse(text, Loader=LOADER)).document()
    except _Fault as fault:
        raise InputError(f"is not valid YAML (line {fault.line}): {fault}", file=file) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark else ""
        problem = getattr(error, "problem", None) or " ".join(str(error).split())
        raise InputError(f"is not valid YAML{where}: {problem}", file=file) from error


def read_text(path, most_bytes: int, allowed: str) -> str:
    """The text of a file in UTF-8.

    Raises
    ------
    InputError : cannot be read, is no regular file, is longer, is not UTF-8; `allowed` says what
        it should be.
    """
    try:
        if not stat.S_ISREG(Path(path).stat().st_mode):  # a pipe would be waited for
            raise InputError("is not a regular file", file=path, allowed=allowed)
        with open(path, "rb") as stream:
            content = stream.read(most_bytes + 1)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", file=path,
                         allowed=allowed) from error
    except ValueError as error:  # a NUL byte in the name
        raise InputError("cannot be read: no file has such a name", file=path,
                         allowed=allowed) from error
    if len(content) > most_bytes:
        raise InputError(f"is longer than {most_bytes:,} bytes", file=path, allowed=allowed)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(f"is not UTF-8 text (byte 0x{content[error.start]:02x} in line {line})",
                         file=path, allowed=allowed) from error


class _Fault(Exception):
    """A fault of a YAML text, with its line."""

    def __init__(self, problem: str, event):
        super().__init__(problem)
        self.line = event.start_mark.line + 1


class _Builder:
    """Builder of plain dicts, lists and scalars from the events of one YAML document."""

    def __init__(self, events):
        self._events = iter(events)
        self._count = 0
        self._depth = 0
        self._anchors: dict = {}  # name -> (value, number of values in it, levels in it)

    def document(self):
        """The value of the only document; None for an empty file."""
        next(self._events)  # the stream's start
        event, value = next(self._events), None
        if isinstance(event, yaml.DocumentStartEvent):
            value = self._value(next(self._events))[0]
            next(self._events)
            event = next(self._events)
        if not isinstance(event, yaml.StreamEndEvent):
            raise _Fault("there is more than one document in the file", event)
        return value

    def _value(self, event):
        """The value that begins with this event, and how many levels it has."""
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        before = self._count
        self._add(1, 1, event)
        if event.anchor:
            self._anchors[event.anchor] = None  # not to be used inside itself
        if isinstance(event, yaml.ScalarEvent):
            value, levels = _scalar(event), 1
        else:
            known = {yaml.MappingStartEvent: "map", yaml.SequenceStartEvent: "seq"}[type(event)]
            if event.tag not in (None, "!", TAG + known):
                raise _Fault(f"the tag {_short(event.tag)} is not known", event)
            self._depth += 1
            value, levels = (self._mapping() if known == "map" else self._sequence())
            self._depth -= 1
        if event.anchor:
            self._anchors[event.anchor] = (value, self._count - before, levels)
        return value, levels

    def _add(self, values: int, levels: int, event) -> None:
        self._count += values
        if self._count > MOST_VALUES:
            raise _Fault(f"there are more than {MOST_VALUES:,} values, aliases written out", event)
        if self._depth + levels > DEEPEST:
            raise _Fault(f"values are nested deeper than {DEEPEST} levels", event)

    def _alias(self, event):
        name = event.anchor
        if name not in self._anchors:
            raise _Fault(f"there is no anchor '{name}' before this line", event)
        if self._anchors[name] is None:
            raise _Fault(f"the anchor '{name}' refers to itself", event)
        value, values, levels = self._anchors[name]
        self._add(values, levels, event)
        return copy.deepcopy(value), levels  # every place has its own, to be filled in apart

    def _sequence(self):
        values, levels = [], 0
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            value, below = self._value(event)
            values.append(value)
            levels = max(levels, below)
        return values, levels + 1

    def _mapping(self):
        content, merged, levels = {}, [], 0
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            merge = isinstance(event, yaml.ScalarEvent) and event.value == "<<" and (
                event.implicit[0] or event.tag == f"{TAG}merge")
            key = "<<" if merge else self._key(event)
            if key in content or (merge and merged):
                raise _Fault(f"key '{key}' is given twice", event)
            value, below = self._value(next(self._events))
            levels = max(levels, below)
            if merge:
                merged = value if isinstance(value, list) else [value]
                if not merged or not all(isinstance(part, dict) for part in merged):
                    raise _Fault("what is merged (<<) has no keys", event)
            else:
                content[key] = value
        for part in merged:
            content = {**content, **{k: v for k, v in part.items() if k not in content}}
        return content, levels + 1

    def _key(self, event) -> str:
        key = self._value(event)[0]
        if not isinstance(key, str):
            shown = event.value if isinstance(event, yaml.ScalarEvent) else "list or mapping"
            raise _Fault(f"the key {shown!r} is not text (put it in quotes)", event)
        if len(key) > LONGEST_KEY or "\n" in key:
            raise _Fault(f"a key is longer than a line or {LONGEST_KEY} letters", event)
        return key


def _scalar(event):
    """Number, truth value, None or text."""
    text, tag = event.value, event.tag
    if tag in (None, "!", f"{TAG}str"):
        return _plain(event) if tag is None and event.implicit[0] else _text(event)
    if tag == f"{TAG}int" and WHOLE.fullmatch(text):
        return _number(event)
    if tag == f"{TAG}float" and (DECIMAL.fullmatch(text) or NOT_FINITE.fullmatch(text)):
        return float(_number(event))
    if tag in (f"{TAG}bool", f"{TAG}null") and text.lower() in WORDS and (
            (WORDS[text.lower()] is None) == (tag == f"{TAG}null")):
        return WORDS[text.lower()]
    if tag in (f"{TAG}int", f"{TAG}float", f"{TAG}bool", f"{TAG}null"):
        raise _Fault(f"{_short(text)!r} is not what its tag {_short(tag)} says", event)
    raise _Fault(f"the tag {_short(tag)} is not known", event)


def _plain(event):
    """Value of a scalar without quotes and tags."""
    text = event.value
    if text in WORDS or (text.lower() in WORDS and text in (text.upper(), text.capitalize())):
        return WORDS[text.lower()]
    for what, trap in TRAPS.items():
        if trap.fullmatch(text):
            raise _Fault(f"{_short(text)} reads as {what}: put text in quotes, and write a number "
                         "as a plain decimal", event)
    if WHOLE.fullmatch(text) or DECIMAL.fullmatch(text) or NOT_FINITE.fullmatch(text):
        return _number(event)
    return _text(event)


def _number(event):
    text = event.value.replace("_", "")
    if len(text) > 400:
        raise _Fault(f"a number has {len(text)} digits", event)
    if NOT_FINITE.fullmatch(text):
        return float(text.lower().replace(".", ""))
    if not WHOLE.fullmatch(text):
        return float(text)
    value = int(text, 0)
    if abs(value) > LARGEST:
        raise _Fault(f"{_short(text)} is too large for a whole number", event)
    return value


def _text(event) -> str:
    text = event.value
    if not text.isprintable():
        for letter in text:
            if letter not in "\n\t" and unicodedata.category(letter) in ("Cc", "Cs"):
                raise _Fault(f"text holds the control character {letter!r}", event)
    return text


def _short(text: str) -> str:
    text = text.replace(TAG, "!!")
    return text if len(text) <= 60 else f"{text[:57]}..."
