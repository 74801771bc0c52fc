"""Reading YAML: what is said twice, or only seems to be said, is an error with file and line."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from mlplatform.bundle.project import Project, toml
from mlplatform.config.settings import load_settings
from mlplatform.config.yaml_file import read_yaml
from mlplatform.errors import ConfigError, FeatureStoreError
from mlplatform.protocols.feature_spec import FeatureSpec


@pytest.fixture
def read(tmp_path: Path):
    def write_and_read(text: str | bytes):
        path = tmp_path / "some.yml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_yaml(path, expected="anything")

    return write_and_read


@pytest.mark.parametrize(
    ("text", "first", "second"),
    [
        ("a: 1\nb: 2\na: 3\n", 1, 3),
        ("a:\n  b: 1\n  c: 2\n  b: 1\n", 2, 4),
        ("a: {b: 1,\n  b: 2}\n", 1, 2),
        ("a: {b: 1, b: 2}\n", 1, 1),
        ("a:\n- {b: 1}\n- b: 1\n  b: 2\n", 3, 4),
        ("environments:\n  prod:\n    gate: {floor: 1}\n  staging:\n  prod:\n", 2, 5),
        ("environments:\n  prod:\n    gate:\n      floor: 1\n    gate:\n      draws: 3\n", 3, 5),
        ('1: x\n"1": y\n', 1, 2),
        ("yes: x\ntrue: y\n", 1, 2),
        ("true: x\n1: y\n", 1, 2),
        ("1: x\n1.0: y\n", 1, 2),
        ("0x10: x\n16: y\n", 1, 2),
        ("2013-01-01: x\n'2013-01-01': y\n", 1, 2),
        ("~: x\nnull: y\n", 1, 2),
        ("a: 1\n'a': 2\n", 1, 2),
        ("a: 1\n? a\n: 2\n", 1, 2),
        ('a: 1\n"\\x61": 2\n', 1, 2),
        ("? &k key\n: 1\n*k : 2\n", 1, 1),
        ("a: &x {b: 1}\nc:\n  <<: *x\n  d: 1\n  <<: *x\n", 3, 5),
        ("a: &x\n  b: 1\ny: &y\n  b: 2\nc:\n  <<: [*x, *y]\n", 2, 4),
        ("a: &x\n  b: 1\n  b: 2\nc: *x\n", 2, 3),
        ("s: !!set\n  ? a\n  ? a\n", 2, 3),
    ],
)
def test_what_is_given_twice_is_an_error_with_both_lines(read, text, first, second):
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert f"some.yml line {second}: " in caught.value.message
    assert f"is given twice; it stands on line {first} already" in caught.value.message
    assert caught.value.hint
    assert yaml.safe_load(text)  # which is why: PyYAML reads it without a word


@pytest.mark.parametrize(
    "text",
    [
        "a: &x {b: 1, c: 2}\nd: {<<: *x, b: 3}\n",
        "a: &x {b: 1}\nd: &y {<<: *x, c: 1}\ne: {<<: [*x, *y]}\n",
        "a: &x {b: 1}\ny: &y {b: 2}\nc: {<<: [*x, *y], b: 3}\n",
        "a: &x {b: 1}\nd: *x\ne: *x\n",
        "a: {b: 1}\nc: {b: 1}\n",
        "a: [{b: 1}, {b: 2}]\n",
        "A: 1\na: 2\n",
        "a: 2013-01-01\nb: 1_000\nc: 1.5e+3\nd: off\ne: [.5, -3, 0, 0x1F]\n",
        "a: |\n  a: 1\n  a: 2\n",
        "# a: 1\na: 2\n",
    ],
)
def test_everything_else_is_read_as_pyyaml_reads_it(read, text):
    assert read(text).content == yaml.safe_load(text)


def test_each_key_has_its_line_and_what_is_merged_in_that_of_its_anchor(read):
    found = read("a: &x\n  b: 1\n  c: 2\nd:\n  c: 3\n  <<: *x\n")
    assert found.lines == {("a",): 1, ("a", "b"): 2, ("a", "c"): 3, ("d",): 4, ("d", "b"): 2, ("d", "c"): 5}


@pytest.mark.parametrize("text", ["0100", "1:30", "12:00:00", "-1:30", "1:30.5", "0_7"])
def test_numbers_that_are_none_to_their_writer_stay_texts(read, text):
    assert read(f"a: {text}\n").content == {"a": text}
    assert not isinstance(yaml.safe_load(text), str)


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n" for level in range(1, 9)
)
MERGE_BOMB = "a0: &a0 {k: 1}\n" + "".join(
    f"a{level}: &a{level} {{<<: [{', '.join([f'*a{level - 1}'] * 10)}]}}\n" for level in range(1, 9)
)
CHAIN = "a0: &a0 {k: 1}\n" + "".join(f"a{level}: &a{level} {{k: *a{level - 1}}}\n" for level in range(1, 3000))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "line 1 holds no settings: the file is empty"),
        ("# nothing\n", "line 1 holds no settings"),
        ("\n\n- a\n", "line 3 holds no settings: the file is a list"),
        ("text", "line 1 holds no settings: the file is a single value"),
        ("a: 1\n\tb: 2\n", "line 2"),
        ("a:\n\tb: 2\n", "line 2"),
        ("a: [1\nb: 2\n", "line 2"),
        ("a: 'x\n\n", "line 3"),
        ("a: 1\n---\na: 2\n", "line 2"),
        ("a: *nowhere\n", "line 1"),
        ("a: &x 1\nb: &x 2\n", "line 2"),
        ("a: 1\nb: 2013-02-30\n", "line 2"),
        ("a: 1\nb: " + "9" * 5000, "line 2"),
        ("a: 1\nb: !!bool maybe\n", "line 2"),
        ("a: 1\nb: !!float ''\n", "line 2"),
        ("a: 1\nb: !!timestamp now\n", "line 2"),
        ("a: 1\nb: !!python/object/apply:os.getcwd []\n", "line 2"),
        ("a: 1\nb: !mine x\n", "line 2"),
        ("a: 1\n[b, c]: 2\n", "line 2"),
        ("a: 1\n{b: c}: 2\n", "line 2"),
        ("a: 1\n!!map b: 2\n", "line 2"),
        ("a: 1\n<<: 3\n", "line 2"),
        ("a: &x [1]\nb: {<<: *x}\n", "line 1"),
        ("a: 1\nb: &x {c: *x}\n", "line 2"),
        ("a: 1\nb: &x [*x]\n", "line 2"),
        ("a: 1\nb: &x\n  <<: *x\n", "line 2"),
        ("a: 1\nb: " + "[" * 100_000, "line 2"),
        ("a: 1\nb: " + "{x: " * 3000, "line 2"),
        (BOMB, "line 5"),
        (MERGE_BOMB, "line 6"),
        (CHAIN, "levels"),
        ("a: 1\nb: x\x00y\n", "line 2 holds the character U+0000"),
        ("a: 1\nb: \x07\n", "line 2 holds the character U+0007"),
        (b"a: 1\nb: caf\xe9\n", "line 2 is not UTF-8: byte 0xe9"),
        ("a: 1\n".encode("utf-16"), "line 1 is not UTF-8"),
    ],
)
def test_what_cannot_be_read_is_one_error_with_its_line(read, text, says):
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert "some.yml" in caught.value.message
    assert says in caught.value.message
    assert caught.value.hint
    assert len(caught.value.message) < 500


def test_a_byte_order_mark_and_windows_lines_are_read(read):
    found = read(b"\xef\xbb\xbfa: 1\r\nb: 2\r\n")
    assert found.content == {"a": 1, "b": 2}
    assert found.lines["b",] == 2


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        read_yaml(tmp_path, expected="anything")


def test_a_tab_has_a_hint_of_its_own(read):
    with pytest.raises(ConfigError) as caught:
        read("a:\n\tb: 2\n")
    assert "tab" in caught.value.hint


# The three kinds of files that the project reads


def test_settings_a_bundle_and_a_feature_spec_are_read_by_it(tmp_path):
    (tmp_path / "config.yml").write_text("owner: a\nlabel: {horizon: day}\ngate: {floor: 1}\ngate: {draws: 200}\n")
    with pytest.raises(ConfigError, match=r"config\.yml line 4: 'gate' is given twice; it stands on line 3"):
        load_settings(tmp_path / "config.yml", "dev")
    (tmp_path / "databricks.yml").write_text("targets:\n  dev: {mode: development}\n  dev: {mode: production}\n")
    with pytest.raises(ConfigError, match=r"databricks\.yml line 3: 'dev' is given twice; it stands on line 2"):
        Project.read(tmp_path)
    (tmp_path / "feature_spec.yaml").write_text("input_columns: []\ninput_columns: []\n")
    with pytest.raises(FeatureStoreError, match=r"feature_spec\.yaml line 2: 'input_columns' is given twice"):
        FeatureSpec.load(tmp_path)


@pytest.mark.parametrize("text", ["targets:\n  dev: production\n", "targets: [dev]\n", "[dev]", "a: b"])
def test_a_bundle_that_is_none_is_an_error(tmp_path, text):
    (tmp_path / "databricks.yml").write_text(text)
    with pytest.raises(ConfigError, match=r"databricks\.yml"):
        Project.read(tmp_path)


@pytest.mark.parametrize("name", ["uv.lock", "pyproject.toml"])
def test_toml_that_is_none_is_an_error_with_its_line(tmp_path, name):
    (tmp_path / name).write_text('a = "1"\na = "2"\n')
    with pytest.raises(ConfigError, match=rf"{name} is not valid TOML.*line 2"):
        toml(tmp_path / name)
