"""YAML files are read strictly, at once, and to an end, whatever is in them."""

import os
import time

import pytest

from hifuflow.errors import InputError
from hifuflow.study import yaml_file
from hifuflow.study.yaml_file import read_text, read_yaml

EXPLODING = "\n".join(["a0: &a0 [x, x]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]"
                                           for n in range(1, 26))])


@pytest.fixture
def written(tmp_path):
    def write(content):
        path = tmp_path / "file.yaml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path
    return write


@pytest.mark.parametrize(("text", "message"), [
    ("a: 1\na: 2\n", r"line 2\): key 'a' is given twice"),
    ("a: [1\n", "line 2"),
    ("a: 2001-13-45\n", r"line 1\): 2001-13-45 reads as a date"),
    ("a: 2001-12-14t21:59:43.10-05:00\n", "reads as a date"),
    ("b: 1\na: 190:20:30\n", r"line 2\): 190:20:30 reads as a number to the base of 60"),
    ("a: 010\n", "reads as an octal number"),
    ("a: !!bool maybe\n", "'maybe' is not what its tag !!bool says"),
    ("a: !!bool ''\n", "is not what its tag"),
    ("a: !!int ''\n", "'' is not what its tag !!int says"),
    ("a: !!int 1.5\n", "is not what its tag"),
    ("a: !!float x\n", "is not what its tag"),
    ("a: !!null x\n", "is not what its tag"),
    ("a: !!timestamp x\n", "the tag !!timestamp is not known"),
    ("a: !!python/object/apply:os.system [id]\n", "the tag !!python/object.* is not known"),
    ("a: !!set {b, c}\n", "the tag !!set is not known"),
    ("a: !mine {b: c}\n", "the tag !mine is not known"),
    ('a: "el\\0.csv"\n', r"line 1\): text holds the control character '\\x00'"),
    ('a: "\\x1b[31m"\n', "control character"),
    ("a: x\0y\n", "control characters are not allowed"),
    ('"a\\n": 1\n', "a key is longer than a line"),
    ("k" * 300 + ": 1\n", "a key is longer than"),
    ("a: " + "[" * 300 + "]" * 300 + "\n", "deeper than 32 levels"),
    ("a: " + "{a: " * 300 + "1" + "}" * 300 + "\n", "deeper than 32 levels"),
    ("a: &x " + "[" * 20 + "]" * 20 + "\nb: " + "[" * 20 + "*x" + "]" * 20, "deeper than 32"),
    (EXPLODING, r"line 1\d\): there are more than 50,000 values"),
    ("a: [" + "1, " * 60_000 + "1]\n", "more than 50,000 values"),
    ("a: &a [*a]\n", "the anchor 'a' refers to itself"),
    ("a: *b\n", "no anchor 'b'"),
    ("a: 1\n---\nb: 2\n", "more than one document"),
    ("a: {<<: 1}\n", "has no keys"),
    ("a: " + "9" * 5000 + "\n", "a number has 5000 digits"),
    ("a: 9223372036854775808\n", "too large for a whole number"),
    ("1: 2\n", "the key '1' is not text"),
    ("on: 2\n", "the key 'on' is not text"),
    ("- 1\n", "a YAML mapping"),
    ("", "a YAML mapping"),
    ("description: Zürich\n".encode("latin-1"), r"not UTF-8 text \(byte 0xfc in line 1\)"),
    ("a: 1\n".encode("utf-16"), "not UTF-8 text"),
    (b"#" * 2_000_001, "longer than 2,000,000 bytes"),
])
def test_what_yaml_lets_through_is_one_clear_error_at_once(written, text, message):
    path, start = written(text), time.process_time()
    with pytest.raises(InputError, match=message) as caught:
        read_yaml(path)
    assert time.process_time() - start < 1
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


def test_plain_values_are_what_their_writer_expects(written):
    content = read_yaml(written(
        "a: 1e6\nb: -2.5e-3\nc: 7\nd: +0x1F\ne: [~, null, '', no, TRUE, 1_000]\n"
        "f: '010'\ng: !!str 5\nh: !!float 3\ni: .5\nj: x:y\nk: 'true'\nl: |\n  two\n  lines\n"
        "m: -.inf\nn: 12 W\n"))
    assert content == {
        "a": 1e6, "b": -2.5e-3, "c": 7, "d": 31, "e": [None, None, "", False, True, 1000],
        "f": "010", "g": "5", "h": 3.0, "i": 0.5, "j": "x:y", "k": "true", "l": "two\nlines\n",
        "m": -float("inf"), "n": "12 W"}
    assert isinstance(content["h"], float) and isinstance(content["c"], int)


def test_anchors_and_merged_keys_give_every_place_its_own_value(written):
    content = read_yaml(written("a: &x {p: 1, q: [2]}\nb: *x\nc: {<<: *x, p: 3}\n"
                                "d: {<<: [*x, {r: 4}]}\n"))
    assert content == {"a": {"p": 1, "q": [2]}, "b": {"p": 1, "q": [2]},
                       "c": {"p": 3, "q": [2]}, "d": {"p": 1, "q": [2], "r": 4}}
    content["a"]["q"].append(5)
    assert content["b"]["q"] == content["c"]["q"] == [2]


def test_a_byte_order_mark_is_no_part_of_the_first_key(written):
    assert read_yaml(written(b"\xef\xbb\xbfa: 1\n")) == {"a": 1}


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
def test_what_is_no_file_is_not_waited_for(tmp_path, make):
    make(tmp_path / "odd.yaml")
    with pytest.raises(InputError, match=r"odd\.yaml: (is not a regular file|cannot be read)"):
        read_yaml(tmp_path / "odd.yaml")


def test_devices_and_impossible_names_are_refused(tmp_path):
    for path in ("/dev/zero", "a\0b", "x" * 5000, tmp_path / "nowhere"):
        with pytest.raises(InputError, match=r"not a regular file|cannot be read"):
            read_text(path, 1000, "text")


def test_it_does_the_same_without_the_fast_parser(written, monkeypatch):
    import yaml

    monkeypatch.setattr(yaml_file, "LOADER", yaml.SafeLoader)
    assert read_yaml(written("a: [1, {b: 2.5}]\n")) == {"a": [1, {"b": 2.5}]}
    for text in (EXPLODING, "a: !!bool maybe\n", "a: " + "[" * 300, 'a: "\\ud800"\n'):
        with pytest.raises(InputError, match="is not valid YAML"):
            read_yaml(written(text))
