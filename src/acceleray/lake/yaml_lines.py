"""Where an entry stands in a YAML file, for messages."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import yaml

__all__ = ["YamlLines"]


class YamlLines:
    """Where an entry stands in a YAML file; nowhere if there is no such file."""

    def __init__(self, path: Path) -> None:
        self._root = yaml.compose(path.read_text(encoding="utf-8")) if path.is_file() else None

    def of(self, key: str, value: str, *inside: str) -> int | None:
        """Line of the first mapping with ``key: value``, or of the text in it that is most to the point."""
        for node in _nodes(self._root):
            if isinstance(node, yaml.MappingNode):
                for name, entry in node.value:
                    if name.value == key and entry.value == value:
                        scalars = [part for part in _nodes(node) if isinstance(part, yaml.ScalarNode)]
                        marks = [part.start_mark for part in scalars if part.value in inside]
                        return int((marks or [entry.start_mark])[0].line) + 1
        return None

    def of_key(self, section: str, key: str) -> int | None:
        """Line of a key anywhere below the first section of that name."""
        for node in _nodes(self._root):
            if isinstance(node, yaml.MappingNode):
                for name, entry in node.value:
                    if name.value == section:
                        inside = [part for part in _nodes(entry) if isinstance(part, yaml.ScalarNode)]
                        return next((part.start_mark.line + 1 for part in inside if part.value == key), None)
        return None


def _nodes(node: yaml.Node | None) -> Iterable[yaml.Node]:
    if node is None:
        return
    yield node
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from _nodes(key)
            yield from _nodes(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _nodes(value)
