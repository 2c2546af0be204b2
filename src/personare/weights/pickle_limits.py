"""What a pickle may cost: operations, copies, depth, keys. All of it is counted, whatever the
file's own size says: five bytes of a pickle can copy a list of a million.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from personare.weights.records import Global, Record, Unfinished, is_leaf

MAX_OPERATIONS = 1_000_000
"""Of one file, with all pickles in it, however often they are read."""
MAX_DEPTH = 400
MAX_EXPANDED = 20_000_000
"""How many objects there may be when everything that is shared is counted each time it is met."""
MAX_TUPLE_KEYS = 4096
"""Of one dictionary or set: the hashes of tuples can be made to collide."""
MAX_INTEGER_KEY = 1 << 60
"""Larger integers can be made to collide."""
MAX_COPIED_ELEMENTS = 2_000_000
"""An element takes an operation to make, and honest pickles copy it once or twice."""
_SPARE_BYTES = 16 << 20
_CONTAINERS = (list, tuple, dict, set, frozenset)


class Refused(Exception):
    """A pickle is hostile, damaged, or needs what has no place in a checkpoint; the message
    completes "it ...".
    """


class Budget:
    """What is left of the work that one file may cause. size: the file's bytes: honest pickles
    copy each of them a few times at most.
    """

    def __init__(self, size: int) -> None:
        self._operations = MAX_OPERATIONS
        self._elements = MAX_COPIED_ELEMENTS
        self._bytes = 4 * size + _SPARE_BYTES

    def spend_operation(self) -> None:
        """Raises Refused when there are too many."""
        self._operations -= 1
        if self._operations < 0:
            raise Refused(f"has more than {MAX_OPERATIONS} operations")

    def spend_copies(self, values: Any) -> None:
        """Count a tuple's parts, and the elements or bytes of each part, as copied once more.
        Raises Refused when there are too many.
        """
        parts = values if isinstance(values, tuple) else (values,)
        self._elements -= len(parts)
        if self._elements >= 0:
            self._elements -= sum(len(part) for part in parts if isinstance(part, _CONTAINERS))
            self._bytes -= sum(len(part) for part in parts if isinstance(part, str | bytes | bytearray))
        if self._elements < 0 or self._bytes < 0:
            raise Refused("copies what it holds again and again")


def checked_keys(keys: Iterable[Any], held: int = 0) -> list[Any]:
    """Keys as they are. Raises Refused for those whose hash could take for ever (tuples of
    tuples), collide at will, or does not exist. held: how many keys there are already.
    """
    checked = list(keys)
    for key in checked:
        parts = key if isinstance(key, tuple) else (key,)
        if not all(
            isinstance(part, str | bytes | int | float | complex | None | Global | Record) for part in parts
        ):
            raise Refused(f"uses a {type(key).__name__} as a key")
        if isinstance(key, int) and abs(key) >= MAX_INTEGER_KEY:
            raise Refused("uses a huge number as a key")
        if isinstance(key, tuple) and held + len(checked) > MAX_TUPLE_KEYS:
            raise Refused("uses too many tuples as keys")
    return checked


def check_extent(root: Any) -> None:
    """Raises Refused for results that are nested too deeply, grow beyond all bounds, or hold
    what was never finished.

    Walks the graph once, children before parents. A reference to an object that is being walked
    (a cycle) counts as nothing.
    """
    extents: dict[int, tuple[int, int]] = {}
    open_ids: set[int] = set()
    waiting: list[tuple[Any, bool]] = [(root, False)]
    while waiting:
        node, are_children_known = waiting.pop()
        identity = id(node)
        if are_children_known:
            known = [extents[id(child)] for child in _children(node) if id(child) in extents]
            depth = 1 + max((depth for depth, _ in known), default=0)
            expanded = 1 + sum(expanded for _, expanded in known)
            if depth > MAX_DEPTH:
                raise Refused(f"is nested more than {MAX_DEPTH} deep")
            if expanded > MAX_EXPANDED:
                raise Refused("expands to more objects than any checkpoint has")
            extents[identity] = depth, expanded
            open_ids.discard(identity)
        elif identity not in extents and identity not in open_ids:
            open_ids.add(identity)
            waiting.append((node, True))
            waiting.extend((child, False) for child in _children(node) if not is_leaf(child))


def _children(node: Any) -> Iterable[Any]:
    if isinstance(node, Record):
        return (*node.arguments, node.state, *node.items)
    if isinstance(node, dict):
        return (*node.keys(), *node.values())
    if isinstance(node, list | tuple | set | frozenset):
        return node
    if isinstance(node, Unfinished):
        raise Refused("holds an array without its content")
    return ()
