"""Configuration files that something went wrong with: a generator of them.

`mutated(text, random)` gives the text of a YAML file after one to three mutations of its structure
(a value of another type, an extreme number, a key that is lost, doubled, misspelt or moved, deep
nesting, a tag, an anchor, ...) and sometimes of its bytes.
"""

from __future__ import annotations

import copy
import random as random_module

import yaml

NUMBERS = (0, -1, 1, 1e-300, -1e-9, 1e-9, 1e9, -1e9, 1e300, 1.7976931348623157e308, 2**31, 2**63,
           10**30, 10**400, float("nan"), float("inf"), -float("inf"), 0.1 + 0.2, -0.0, 3.0, 45.0)
TEXTS = ("", " ", "x", "auto", "null", "~nosuchuser/x", "~", "/", "..", "/dev/zero", "/dev/null",
         "a\n", "name\n", "ä", "\u202e", "\U0001f4a3", "a" * 5000, "../" * 60, "x" * 300 + ".yaml",
         "insulated", "1e6", "true", "{}", "%s%n", "'\"", "\\x00", "1 2", "a: b", "- x")
TAGS = ("!!bool maybe", "!!int ''", "!!timestamp x", "!!python/object/apply:os.system [id]",
        "!!float .", "!!binary x", "!!set {a, b}", "!!omap [a: 1]", "!local x", "!!null x",
        "!!str 5", "!!int 0x10", "2001-13-45", "2001-12-14t21:59:43.10-05:00", "0o9", "010",
        "190:20:30", "1:30", ".", "-", "?", "&a [*a]", "*nowhere", "|\n  text", "\"\\0\"",
        "\"\\ud800\"", "<<", "{<<: {a: 1}}", "[" * 400, "[" * 300 + "]" * 300, "=", "@", "`x`",
        "{a: 1, a: 2}", "1_000", "+1", "1.", ".5", "1e400", "!!seq {}", "!!map []", "0x" + "f" * 99)


def places(value, found=None) -> list:
    """(container, key) of every value inside."""
    found = [] if found is None else found
    for key in value if isinstance(value, dict) else range(len(value)):
        found.append((value, key))
        if isinstance(value[key], dict | list):
            places(value[key], found)
    return found


def _structure(content, random) -> None:
    """One mutation of keys and values, in place."""
    every = places(content)
    if not every:
        return
    where, key = random.choice(every)
    value = where[key]
    what = random.randrange(14)
    if what == 0:
        del where[key]
    elif what == 1:
        where[key] = random.choice(NUMBERS)
    elif what == 2:
        where[key] = random.choice(TEXTS)
    elif what == 3:
        where[key] = random.choice(([], {}, None, True, False, [[]], [None], {"": None}, {"a": 1}))
    elif what == 4:
        where[key] = [value] * random.choice((1, 2, 3, 2000))
    elif what == 5:
        where[key] = {random.choice(("a", "", "name", "temperature_c")): value}
    elif what == 6 and isinstance(where, dict):
        where[random.choice((str(key) + "\n", str(key).upper(), f"{key}s", "x" * 500, "ü", "skin",
                             f" {key}", str(key)[:-1]))] = where.pop(key)
    elif what == 7:
        other, there = random.choice(every)
        where[key] = copy.deepcopy(other[there])
    elif what == 8:
        for _ in range(random.choice((5, 40, 120))):
            value = [value] if random.random() < 0.5 else {"a": value}
        where[key] = value
    elif what == 9 and isinstance(value, int | float):
        where[key] = value * random.choice((-1, 0, 1e-6, 1e-3, 1e3, 1e6, 1e12, 0.5, 2))
    elif what == 10 and isinstance(value, list) and value:
        random.shuffle(value)
        del value[random.randrange(len(value)):]
    elif what == 11:
        where[key] = _Raw(random.choice(TAGS))
    elif what == 12 and isinstance(value, str):
        where[key] = random.choice((value + "\n", value.upper(), value[:-1], f"./{value}",
                                    value * 50, value.replace("a", "\u0430")))
    else:
        where[key] = str(value) if random.random() < 0.5 else random.uniform(-1e3, 1e3)


class _Raw(str):
    """Text that goes into the file as it is."""


def _written(content, random) -> str:
    """YAML; raw text in the place of each `_Raw`."""
    raw, plain = {}, copy.deepcopy(content)
    for where, key in places(plain):
        if isinstance(where[key], _Raw):
            mark = f"rawtext{len(raw)}mark"
            raw[mark], where[key] = str(where[key]), mark
    text = yaml.dump(plain, sort_keys=random.random() < 0.3, allow_unicode=random.random() < 0.5,
                     default_flow_style=random.choice((None, None, False, True)))
    for mark, shown in raw.items():
        text = text.replace(mark, shown)
    return text


def _bytes(content: bytes, random) -> bytes:
    """One mutation of the text itself."""
    at, what = random.randrange(max(len(content), 1)), random.randrange(8)
    lines = content.split(b"\n")
    line = random.randrange(len(lines))
    if what == 0:
        return content[:at] + bytes([content[at] ^ 1 << random.randrange(8)]) + content[at + 1:]
    if what == 1:
        return content[:at]
    if what == 2:
        return content[:at] + random.choice((b"\0", b"\xff", b"\xfc", b"\t", b"\r", b"\x85", b"]",
                                             b"}", b":", b": ", b"'", b'"', b"#", b"&a ", b"*a",
                                             b"- ", b"\xef\xbb\xbf", b"\x1b[31m")) + content[at:]
    if what == 3:
        return b"\n".join([*lines[:line], lines[line], *lines[line:]])
    if what == 4:
        return b"\n".join([*lines[:line], b" " + lines[line], *lines[line + 1:]])
    if what == 5:
        return b"\n".join([*lines[:line], *lines[line + 1:]])
    if what == 6:
        return b"\n".join([*lines, *lines])
    bomb = [b"a0: &a0 [x, x]"]
    bomb += [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]".encode() for n in range(1, 26)]
    return b"\n".join([*bomb, *lines])


def _scaled(content, random) -> None:
    """One number larger or smaller: a file that may well be valid."""
    numbers = [(where, key) for where, key in places(content)
               if isinstance(where[key], int | float) and not isinstance(where[key], bool)]
    if numbers:
        where, key = random.choice(numbers)
        value = where[key] * random.choice((0, 0.01, 0.1, 0.5, 0.9, 1.1, 2, 3, 10, 100))
        where[key] = round(value) if isinstance(where[key], int) else value


def mutated(text: str, seed) -> bytes:
    """What is left of a YAML file after a few mutations; the same for the same seed."""
    random = random_module.Random(seed)
    content = yaml.safe_load(text)
    if random.random() < 0.3:
        for _ in range(random.choice((1, 2, 3))):
            _scaled(content, random)
        return _written(content, random).encode()
    for _ in range(random.choice((1, 1, 2, 3))):
        _structure(content, random)
    made = _written(content, random).encode("utf-8", "surrogatepass")
    if random.random() < 0.3:
        made = _bytes(made, random)
    return made
