"""The one reader of YAML: what a file says twice, or only seems to say, is an error with its line.

Plain `yaml.safe_load` lets the last of two equal keys win without a word, takes `0100` for 64 and `1:30` for 90, and
writes a few lines of nested aliases out into more than fits into memory.
"""

from __future__ import annotations

import copy
import os
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from yaml.reader import ReaderError

from mlplatform.errors import ConfigError

Place = tuple[str, ...]
DEEPEST = 50
"""Mappings and lists in one another; settings have five."""
LARGEST = 1_000_000
"""Bytes of a file; what people write has thousands. Reading megabytes takes a minute, and says nothing."""
MOST_VALUES = 100_000
"""Values of a file whose aliases are written out."""
_MERGE = "tag:yaml.org,2002:merge"
_INT = "tag:yaml.org,2002:int"
_FLOAT = "tag:yaml.org,2002:float"
# The same few files are read at each step of a replay, some from another folder each time: each text is parsed once.
_KEPT = 32
_parsed: OrderedDict[str, tuple[dict[Any, Any], dict[Place, int]]] = OrderedDict()
# What a constructor raises for a text that is not of its type, such as 2013-02-31, or `!!bool maybe`.
_NO_SUCH_VALUE = (ValueError, KeyError, IndexError, AttributeError, TypeError, OverflowError)


@dataclass(frozen=True)
class YamlFile:
    """What a file holds.

    Attributes:
        path: The file.
        content: Its mapping.
        lines: Place of each key -> the line it stands on; keys that are merged in (`<<`) have the line of their anchor.
    """

    path: Path
    content: dict[Any, Any]
    lines: dict[Place, int]


def read_yaml(path: Path, *, what: str = "settings", expected: str, largest: int = LARGEST) -> YamlFile:
    """Read a file that holds one mapping.

    Args:
        path: The file.
        what: What it should hold, for the error of a file that does not.
        expected: What is in that: "at least owner, label and gate".
        largest: How many bytes it may have.

    Raises:
        ConfigError: If it is too large, not UTF-8, not YAML or not a mapping, or says something twice; with file and
            line.
        FileNotFoundError: If it does not exist.
    """
    text = _text(path, largest)
    if text in _parsed:
        _parsed.move_to_end(text)
    else:
        _parsed[text] = _parse(path, text, what, expected)
        while len(_parsed) > _KEPT:
            _parsed.popitem(last=False)
    content, lines = _parsed[text]
    return YamlFile(path, copy.deepcopy(content), dict(lines))


def _parse(path: Path, text: str, what: str, expected: str) -> tuple[dict[Any, Any], dict[Place, int]]:
    node = _compose(path, text)
    if not isinstance(node, yaml.MappingNode):
        content = "is empty" if node is None else f"is a {_kind(node)}"
        raise ConfigError(
            f"{path} line {1 if node is None else _line(node)} holds no {what}: the file {content}.",
            hint=f"It is a mapping with {expected}.",
        )
    _Checked(path).check(node)
    loader = _Loader("")
    try:
        content = loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        raise _invalid(path, error) from None
    except _NO_SUCH_VALUE:
        raise _first_that_is_none(path, node) from None
    finally:
        loader.dispose()
    return content, dict(_lines(node, ()))


def _text(path: Path, largest: int) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(largest + 1)
            size = os.fstat(file.fileno()).st_size
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}.", hint="Is it a file, and yours to read?"
        ) from None
    if len(raw) > largest:
        longest = max(raw.split(b"\n"), key=len)
        line = raw.count(b"\n", 0, raw.index(longest)) + 1
        raise ConfigError(
            f"{path} has {size:,} bytes; at most {largest:,} are read. The longest line among these is line {line}.",
            hint="Settings are a few pages. Keep data in files of their own, and name them here.",
        )
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{path} line {line} is not UTF-8: byte 0x{raw[error.start]:02x}.", hint="Save the file as UTF-8."
        ) from None


class _Loader(yaml.SafeLoader):
    """Refuses endless nesting, and reads `0100` and `1:30` as the texts they are."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self.depth += 1
        if self.depth > DEEPEST:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, f"more than {DEEPEST} levels in one another", mark)
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> str:
        tag: str = super().resolve(kind, value, implicit)  # type: ignore[no-untyped-call]
        if kind is yaml.ScalarNode and implicit[0] and tag in (_INT, _FLOAT):
            digits = value.lstrip("+-")
            octal = tag == _INT and len(digits) > 1 and digits[0] == "0" and digits[1] in "_01234567"
            if ":" in digits or octal:
                return self.DEFAULT_SCALAR_TAG
        return tag


def _compose(path: Path, text: str) -> yaml.Node | None:
    try:
        loader = _Loader(text)
        try:
            return loader.get_single_node()
        finally:
            loader.dispose()
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(
            f"{path} is not valid YAML: line {line} holds the character U+{ord(text[error.position]):04X}, "
            "which no YAML may hold.",
            hint="Take it out: an editor that shows invisible characters finds it.",
        ) from None
    except yaml.MarkedYAMLError as error:
        raise _invalid(path, error) from None


def _invalid(path: Path, error: yaml.MarkedYAMLError) -> ConfigError:
    mark = error.problem_mark or error.context_mark
    where = f" line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    problem = ", ".join(part for part in (error.context, error.problem) if part)
    if error.context_mark and mark and error.context_mark.line != mark.line:
        problem += f" (begun on line {error.context_mark.line + 1})"
    hint = "Mend the line named above."
    if "'\\t'" in problem:
        hint = "YAML is indented with blanks: replace the tab by blanks."
    return ConfigError(f"{path} is not valid YAML:{where}: {problem}.", hint=hint)


class _Checked:
    """Walks over all nodes once, however often aliases name them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._loader = _Loader("")
        self._sizes: dict[int, tuple[int, int]] = {}
        self._open: set[int] = set()

    def check(self, node: yaml.Node) -> tuple[int, int]:
        """Check a node and what is in it.

        Returns:
            How many values it holds, and how many levels, with its aliases written out.
        """
        checked = self._sizes.get(id(node))
        if checked is not None:
            return checked
        if id(node) in self._open:
            raise ConfigError(
                f"{self._path} line {_line(node)}: the anchor here holds itself.", hint="Write out what is meant."
            )
        if isinstance(node, yaml.ScalarNode):
            self._value(node)
            size, depth = 1, 0
        else:
            self._open.add(id(node))
            parts = [self.check(part) for part in _parts(node)]
            self._open.remove(id(node))
            size, depth = 1 + sum(size for size, _ in parts), 1 + max((depth for _, depth in parts), default=0)
        if depth > DEEPEST:
            raise ConfigError(
                f"{self._path} line {_line(node)}: with its aliases written out this has more than {DEEPEST} levels.",
                hint="Write out what is meant, without aliases in aliases.",
            )
        if size > MOST_VALUES and size > 2 * len(self._sizes):
            raise ConfigError(
                f"{self._path} line {_line(node)}: with its aliases written out this holds {size} values; "
                f"{MOST_VALUES} are the most.",
                hint="Write out what is meant, without aliases in aliases.",
            )
        if isinstance(node, yaml.MappingNode):
            self._keys_are_different(node)
        self._sizes[id(node)] = size, depth
        return size, depth

    def _value(self, node: yaml.ScalarNode) -> Any:
        if node.tag == _MERGE:
            return node.value
        try:
            return self._loader.construct_object(node)
        except yaml.MarkedYAMLError as error:
            raise _invalid(self._path, error) from None
        except _NO_SUCH_VALUE as error:
            what = node.tag.rpartition(":")[2]
            raise ConfigError(
                f"{self._path} is not valid YAML: line {_line(node)}: {node.value[:80]!r} is no {what} ({error}).",
                hint="Mend it, or put it into quotes if it is a text.",
            ) from None

    def _keys_are_different(self, node: yaml.MappingNode) -> None:
        seen: dict[Any, yaml.Node] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise ConfigError(
                    f"{self._path} line {_line(key)}: a {_kind(key)} stands where a key should.",
                    hint="A key is a name; is a blank missing after a colon, or a quote around a text with { or [?",
                )
            # 1 and "1" are one key as well, and so are yes and true: whoever reads them takes one for the other.
            forms = self._forms(key)
            for same in forms & seen.keys():
                raise self._twice(seen[same], key)
            seen |= dict.fromkeys(forms, key)
        self._merged_are_different(node, seen)

    def _forms(self, key: yaml.ScalarNode) -> set[Any]:
        value = self._value(key)
        if not isinstance(value, Hashable):  # an explicit tag such as !!map; refused when it is read
            return {key.value}
        return {value, key.value, str(value)}

    def _merged_are_different(self, node: yaml.MappingNode, own: dict[Any, yaml.Node]) -> None:
        # A key of the mapping's own is laid over what is merged in: that is what merging is for. Of two mappings that
        # are merged in together, nothing but their order would say which one counts.
        merged: dict[Any, yaml.Node] = {}
        for key, value in node.value:
            if key.tag != _MERGE:
                continue
            for part in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                if not isinstance(part, yaml.MappingNode):
                    raise ConfigError(
                        f"{self._path} line {_line(part)}: << merges mappings, and this is a {_kind(part)}.",
                        hint="Name the anchor of a mapping, as in <<: *limits.",
                    )
                for inner in _keys(part):
                    for form in self._forms(inner):
                        if form not in own and merged.setdefault(form, inner) is not inner:
                            raise self._twice(merged[form], inner)

    def _twice(self, first: yaml.Node, second: yaml.Node) -> ConfigError:
        as_what = "" if first.value == second.value else f", there as {first.value!r}"
        same_line = " (twice on that line)" if _line(first) == _line(second) else ""
        return ConfigError(
            f"{self._path} line {_line(second)}: {second.value!r} is given twice; it stands on line {_line(first)} "
            f"already{as_what}{same_line}.",
            hint="Leave one of them: which one is meant cannot be known. Two parts of one section go under one key.",
        )


def _parts(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield key
            yield value
    else:
        yield from node.value


def _keys(node: yaml.MappingNode) -> Iterator[yaml.ScalarNode]:
    """Yield the keys of a mapping, those merged in among them unless its own are laid over them."""
    own = [key for key, _ in node.value if key.tag != _MERGE]
    yield from own
    names = {key.value for key in own}
    for key, value in node.value:
        if key.tag == _MERGE:
            for part in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                yield from (inner for inner in _keys(part) if inner.value not in names)


def _first_that_is_none(path: Path, node: yaml.Node) -> ConfigError:
    return ConfigError(
        f"{path} is not valid YAML: a value in the mapping from line {_line(node)} on is not of the type of its tag.",
        hint="Leave out tags such as !!set.",
    )


def _lines(node: yaml.Node, place: Place) -> Iterator[tuple[Place, int]]:
    # Places differ while keys and sizes are checked, so that this ends.
    if not isinstance(node, yaml.MappingNode):
        return
    for key, value in node.value:
        here = (*place, str(key.value))
        yield here, _line(key)
        yield from _lines(value, here)


def _kind(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return "mapping"
    return "list" if isinstance(node, yaml.SequenceNode) else "single value"


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
