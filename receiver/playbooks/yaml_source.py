"""YAML with the line of every key, so that an error can name the line of its cause."""

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.tokens import (
    AliasToken,
    AnchorToken,
    BlockEndToken,
    BlockMappingStartToken,
    BlockSequenceStartToken,
    DirectiveToken,
    FlowMappingEndToken,
    FlowMappingStartToken,
    FlowSequenceEndToken,
    FlowSequenceStartToken,
    ScalarToken,
    TagToken,
)

# A larger file takes the library seconds to parse.
_SIZE_MAX = 64 * 1024
_DEPTH_MAX = 32
# An escape such as "\ud800" is half a character, which UTF-8 text cannot contain.
_SURROGATE = re.compile("[\ud800-\udfff]")
_REFUSED = {
    AliasToken: "anchors and aliases are not allowed",
    AnchorToken: "anchors and aliases are not allowed",
    DirectiveToken: "directives are not allowed",
    TagToken: "tags are not allowed",
}
_OPENS = (
    BlockMappingStartToken,
    BlockSequenceStartToken,
    FlowMappingStartToken,
    FlowSequenceStartToken,
)
_CLOSES = (BlockEndToken, FlowMappingEndToken, FlowSequenceEndToken)
# Besides its own errors, the library raises these on malformed values.
_FAULTS = (YAMLError, ValueError, ArithmeticError, LookupError, RecursionError, TypeError)


class YamlError(Exception):
    """The file is not one YAML mapping; `line` counts from 1."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line, self.message = line, message


@dataclass(frozen=True)
class Lines:
    """The lines of a file's keys and items."""

    root: Any

    def of(self, path: tuple[str | int, ...]) -> int:
        """The line of a key or item, or of its nearest existing parent."""
        return self._nearest(path)[0]

    def named(self, path: tuple[str | int, ...]) -> str | int:
        """The last key or item on the path that exists."""
        return self._nearest(path)[1]

    def _nearest(self, path: tuple[str | int, ...]) -> tuple[int, str | int]:
        node, line, name = self.root, 1, path[0] if path else "playbook"
        for part in path:
            # A key from a merge (`<<`) has no line of its own.
            if isinstance(node, CommentedMap) and part in (node.lc.data or ()):
                line = node.lc.key(part)[0] + 1
            elif isinstance(node, CommentedSeq) and isinstance(part, int) and part < len(node):
                line = node.lc.item(part)[0] + 1
            else:
                break
            node, name = node[part], part
        return line, name


def read(file: Path) -> tuple[dict[str, Any], Lines]:
    """The mapping in a file, and its lines. Raises YamlError."""
    root = _root(file)
    if not isinstance(root, CommentedMap):
        raise YamlError(1, "the file is not a mapping of keys to values")
    return _plain(root), Lines(root)


def read_list(file: Path) -> tuple[list[Any], Lines]:
    """The list in a file, and its lines. Raises YamlError."""
    root = _root(file)
    if not isinstance(root, CommentedSeq):
        raise YamlError(1, "the file is not a list")
    return _plain(root), Lines(root)


def _root(file: Path) -> Any:
    """What a file has.

    Anchors are refused, because a few of them can expand beyond the memory; so are tags and
    directives, which change the meaning of a text, and deep nesting, which takes very long to
    parse. Raises YamlError.
    """
    try:
        raw = file.read_bytes()
        text = raw.decode()
    except OSError as error:
        raise YamlError(1, f"the file cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise YamlError(raw[: error.start].count(b"\n") + 1, "the file is not UTF-8") from None
    if len(raw) > _SIZE_MAX:
        raise YamlError(1, f"the file is larger than {_SIZE_MAX} bytes")
    try:
        return _parse(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        message = (error.problem or error.context or "not YAML").splitlines()[0]
        raise YamlError(mark.line + 1 if mark else 1, message) from None
    except _FAULTS as error:
        message = f"{error}".partition("\n")[0] or type(error).__name__
        raise YamlError(1, f"not YAML: {message}") from None


@lru_cache(maxsize=64)
def _parse(text: str) -> Any:
    """What the text says, which nobody changes: the library parses 10 kB a second."""
    _refuse(text)
    return YAML(typ="rt").load(text)


def _refuse(text: str) -> None:
    depth = 0
    for token in YAML(typ="rt").scan(text):
        line = int(token.start_mark.line) + 1
        if why := _REFUSED.get(type(token)):
            raise YamlError(line, why)
        if isinstance(token, ScalarToken) and _SURROGATE.search(token.value):
            raise YamlError(line, "a surrogate escape such as \\ud800 is not a character")
        depth += isinstance(token, _OPENS) - isinstance(token, _CLOSES)
        if depth > _DEPTH_MAX:
            raise YamlError(line, f"nested more than {_DEPTH_MAX} levels deep")


def _plain(node: Any) -> Any:
    if isinstance(node, CommentedMap):
        return {str(key): _plain(value) for key, value in node.items()}
    if isinstance(node, CommentedSeq):
        return [_plain(value) for value in node]
    for kind in (bool, int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return node
