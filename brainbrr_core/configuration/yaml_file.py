"""Reading one configuration file: YAML that never drops a setting silently."""

from __future__ import annotations

from pathlib import Path

import yaml

from brainbrr_core.errors import BrainbrrError, cannot_read

_MERGE = "tag:yaml.org,2002:merge"
_TEXT = "tag:yaml.org,2002:str"


class _Loader(yaml.SafeLoader):
    """Refuses keys that are not text, and repeated keys, of which YAML would keep the last one."""

    def __init__(self, stream: bytes | str) -> None:
        super().__init__(stream)
        self._open_anchors: list[str | None] = []

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = yaml.SafeLoader.peek_event(self)
        anchor = getattr(event, "anchor", None)
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            if anchor in self._open_anchors:
                raise _Refused(line, f"*{anchor} is inside the value that it repeats")
            return super().compose_node(parent, index)
        self._open_anchors.append(anchor)
        node = super().compose_node(parent, index)
        self._open_anchors.pop()
        if isinstance(node, yaml.MappingNode):
            _check_keys(node)
        return node


def _check_keys(node: yaml.MappingNode) -> None:
    lines: dict[str, int] = {}
    for key, _value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode) or key.tag not in (_TEXT, _MERGE):
            shown = f" {key.value}" if isinstance(key, yaml.ScalarNode) else ""
            raise _Refused(line, f"the key{shown} is not text: put it in quotes")
        if key.value in lines:
            raise _Refused(
                line,
                f"the key {key.value} is already in line {lines[key.value]}: keep one of "
                "them, with the settings of both",
            )
        lines[key.value] = line


class _Refused(Exception):
    """A line that is valid YAML and not accepted."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line


def read_mapping(path: Path) -> dict[str, object]:
    """Read the mapping of a YAML file; an empty file gives an empty one.

    Raises :class:`BrainbrrError`, naming file and line, for text that is not UTF-8 or not YAML, for
    several documents, for anything but a mapping, for a repeated key, and for a key that is not
    text.
    """
    try:
        # Bytes, so that the mark of a UTF-16 file is recognized.
        content = yaml.load(_readable(path), Loader=_Loader)
    except OSError as error:
        raise cannot_read(path, error) from None
    except _Refused as error:
        raise BrainbrrError(f"{path}, line {error.line}: {error}") from None
    except yaml.MarkedYAMLError as error:
        raise BrainbrrError(_explain(path, error)) from None
    except (yaml.YAMLError, ValueError) as error:
        # An impossible date raises a ValueError.
        raise BrainbrrError(f"{path} is not readable YAML: {_one_line(error)}") from None
    except RecursionError:
        raise BrainbrrError(f"{path} is not readable YAML: it is nested too deeply") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise BrainbrrError(f"{path} must contain a mapping of settings, such as `profile: mine`")
    return content


def key_lines(path: Path) -> dict[str, int]:
    """The line, counted from 1, of each setting in a file that :func:`read_mapping` accepts.

    Settings are named by their full keys, such as ``training.steps``. Those that a merge key (<<)
    brings are left out. Raises :class:`BrainbrrError` where the file cannot be read.
    """
    try:
        node = yaml.compose(_readable(path), Loader=_Loader)
    except (OSError, _Refused, yaml.YAMLError) as error:
        raise BrainbrrError(f"{path} cannot be read any more: {_one_line(error)}") from None
    return _lines_below(node, "")


def _lines_below(node: yaml.Node | None, above: str) -> dict[str, int]:
    lines: dict[str, int] = {}
    for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
        name = f"{above}{key.value}"
        lines |= _lines_below(value, f"{name}.")
        lines.setdefault(name, key.start_mark.line + 1)
    return lines


def read_value(text: str, where: str) -> object:
    """Read a value in YAML; ``where`` is its source in messages.

    Raises :class:`BrainbrrError` where it is not YAML or has a repeated key.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except (_Refused, yaml.YAMLError, ValueError, RecursionError) as error:
        raise BrainbrrError(f"{where} is not readable YAML: {_one_line(error)}") from None


def _readable(path: Path) -> bytes:
    """The bytes of a file that is UTF-8, or UTF-16 with a byte order mark."""
    raw = path.read_bytes()
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return raw
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise _Refused(
            line, f"the byte 0x{raw[error.start]:02x} is not UTF-8: save the file as UTF-8"
        ) from None
    return raw


def _explain(path: Path, error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    where = str(path) if mark is None else f"{path}, line {mark.line + 1}"
    if error.context == "expected a single document in the stream":
        return f"{where}: a second YAML document starts here: keep one, without the line `---`"
    reason = " ".join(part for part in (error.context, error.problem) if part)
    return f"{where} is not readable YAML: {' '.join(reason.split())}"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
