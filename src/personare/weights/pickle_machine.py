"""Pickles, read without executing anything.

A pickle is a program for a small machine with a stack, in which any function of Python can be
called by name. This machine calls none. A global is only a name (`Global`); "calling" one gives
what our own `builders` make of that name, or an inert `Record` of what was said. Names from
Python's standard library beside a few harmless ones have no place in a checkpoint and make it
refused, as do sizes that a file can claim but nobody can hold.
"""

from __future__ import annotations

import pickletools
import sys
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from personare.weights.pickle_limits import Budget, Refused, check_extent, checked_keys
from personare.weights.records import Global, Record, Unfinished

HARMLESS: Mapping[str, frozenset[str]] = {
    "builtins": frozenset(
        {
            "set",
            "frozenset",
            "list",
            "tuple",
            "dict",
            "int",
            "float",
            "bool",
            "str",
            "bytes",
            "bytearray",
            "complex",
            "object",
        }
        | {"slice", "range"}
    ),
    "collections": frozenset({"OrderedDict", "defaultdict", "deque", "Counter"}),
    "copyreg": frozenset({"_reconstructor"}),
    "_codecs": frozenset({"encode"}),
    "typing": frozenset({"Any", "Union", "Optional", "List", "Dict", "Tuple"}),
    "pathlib": frozenset(
        {"Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath", "PureWindowsPath"}
    ),
    "argparse": frozenset({"Namespace"}),
    "types": frozenset({"SimpleNamespace"}),
    "datetime": frozenset({"datetime", "date", "time", "timedelta", "timezone"}),
    "decimal": frozenset({"Decimal"}),
    "fractions": frozenset({"Fraction"}),
    "uuid": frozenset({"UUID"}),
}
"""Module of the standard library -> names in it that a checkpoint may mention. Even these are
never called.
"""

_PYTHON_2 = {"__builtin__": "builtins", "copy_reg": "copyreg"}
_STANDARD = frozenset(sys.stdlib_module_names) | {
    "nt",
    "commands",
    "popen2",
    "urllib2",
    "pip",
    "setuptools",
    "pkg_resources",
}

Builder = Callable[..., Any]
"""Makes a value from the arguments of a global. Raises Refused, TypeError or ValueError for
arguments that make no sense.
"""


class ByteStream(Protocol):
    """What pickletools reads from."""

    def read(self, n: int, /) -> bytes: ...

    def readline(self) -> bytes: ...

    def tell(self) -> int: ...


class PickleMachine:
    """Runs one pickle.

    budget: of the file that it is part of.
    builders: "module.name" -> what makes a value of it.
    persistent: makes a value of a persistent id.
    """

    def __init__(
        self,
        budget: Budget,
        builders: Mapping[str, Builder],
        persistent: Callable[[Any], Any] | None = None,
    ) -> None:
        self._budget = budget
        self._builders = builders
        self._persistent = persistent
        self._stack: list[Any] = []
        self._below: list[list[Any]] = []
        self._memo: dict[int, Any] = {}

    def run(self, stream: ByteStream) -> Any:
        """The object that the next pickle of a stream describes; the stream is left behind its
        end. Raises Refused.
        """
        try:
            for operation, argument, _ in pickletools.genops(stream):  # type: ignore[arg-type]
                self._budget.spend_operation()
                if operation.name == "STOP":
                    result = self._stack.pop()
                    check_extent(result)
                    return result
                self._do(operation.name, argument)
        except (ValueError, TypeError, IndexError, KeyError, OverflowError, AttributeError) as error:
            # All that pickletools says of bytes that are no pickle, and what a program gives
            # that never was one.
            said = str(error).splitlines() or [type(error).__name__]
            raise Refused(f"is damaged or truncated ({said[0][:120]})") from None
        raise Refused("is truncated")

    def _do(self, name: str, argument: Any) -> None:
        if name in _CONSTANTS:
            self._stack.append(argument)
        elif name in _NEW:
            self._stack.append(_NEW[name]())
        elif name in _FROM_MARK:
            items = self._to_mark()
            self._stack.append(_FROM_MARK[name](items))
        elif name in _FROM_TOP:
            self._push_from_top(_FROM_TOP[name])
        elif name in ("BINGET", "LONG_BINGET", "GET"):
            self._stack.append(self._memo[argument])
        elif name in ("BINPUT", "LONG_BINPUT", "PUT"):
            self._put(argument)
        elif name not in ("PROTO", "FRAME"):
            handler = _HANDLERS.get(name)
            if handler is None:
                raise Refused(f"uses {name}, which has no place in a checkpoint")
            handler(self, argument)

    # ------------------------------------------------------------ stack and memo

    def _to_mark(self) -> list[Any]:
        items = self._stack
        self._stack = self._below.pop()
        return items

    def _mark(self, _: Any) -> None:
        self._below.append(self._stack)
        self._stack = []

    def _pop(self, _: Any) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self._to_mark()

    def _pop_mark(self, _: Any) -> None:
        self._to_mark()

    def _duplicate(self, _: Any) -> None:
        self._stack.append(self._stack[-1])

    def _push_from_top(self, count: int) -> None:
        if len(self._stack) < count:
            raise IndexError("the stack is empty")
        self._stack[-count:] = [tuple(self._stack[-count:])]

    def _put(self, index: int) -> None:
        value = self._memo[index] = self._stack[-1]
        if isinstance(value, Unfinished):
            value.memoised.append(index)

    def _memoise(self, _: Any) -> None:
        self._put(len(self._memo))

    # ------------------------------------------------------------ containers

    def _append(self, _: Any) -> None:
        self._extend([self._stack.pop()])

    def _appends(self, _: Any) -> None:
        self._extend(self._to_mark())

    def _extend(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if isinstance(target, Record):
            target.items.extend(items)
        elif isinstance(target, list):
            target.extend(items)
        else:
            raise Refused(f"appends to a {type(target).__name__}")

    def _add_items(self, _: Any) -> None:
        items = self._to_mark()
        target = self._stack[-1]
        if not isinstance(target, set):
            raise Refused(f"adds to a {type(target).__name__}")
        target.update(checked_keys(items, len(target)))

    def _set_item(self, _: Any) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._update([key, value])

    def _set_items(self, _: Any) -> None:
        self._update(self._to_mark())

    def _update(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if isinstance(target, Record):
            target.items.extend(zip(items[::2], items[1::2], strict=True))
        elif isinstance(target, dict):
            target.update(zip(checked_keys(items[::2], len(target)), items[1::2], strict=True))
        else:
            raise Refused(f"sets items of a {type(target).__name__}")

    # ------------------------------------------------------------ names, "calls", state

    def _global(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self._stack.append(named(module, name))

    def _stack_global(self, _: Any) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        if not (isinstance(name, str) and isinstance(module, str)):
            raise Refused("names something by what is no text")
        self._stack.append(named(module, name))

    def _reduce(self, _: Any) -> None:
        arguments, called = self._stack.pop(), self._stack.pop()
        self._stack.append(self._made(called, arguments))

    def _new_object_with_names(self, _: Any) -> None:
        names, arguments, called = self._stack.pop(), self._stack.pop(), self._stack.pop()
        made = self._made(called, arguments)
        if isinstance(made, Record) and names:
            self._budget.spend_copies(made.arguments)
            made.arguments = (*made.arguments, names)
        self._stack.append(made)

    def _object(self, _: Any) -> None:
        called, *arguments = self._to_mark()
        self._stack.append(self._made(called, tuple(arguments)))

    def _instance(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        made = self._made(named(module, name), tuple(self._to_mark()))
        self._stack.append(made)

    def _made(self, called: Any, arguments: Any) -> Any:
        """What our builders make of a name and its arguments, or an inert record of both."""
        if not isinstance(called, Global):
            raise Refused(f"calls a {type(called).__name__}")
        if not isinstance(arguments, tuple):
            raise Refused(f"calls {called} with a {type(arguments).__name__}")
        self._budget.spend_copies(arguments)
        if builder := self._builders.get(str(called)):
            return builder(*arguments)
        return Record(str(called), arguments)

    def _build(self, _: Any) -> None:
        state = self._stack.pop()
        target = self._stack[-1]
        if isinstance(target, Record):
            target.state = state
        elif isinstance(target, Unfinished):
            self._budget.spend_copies(state)
            self._stack[-1] = finished = target.finished(state)
            for index in target.memoised:
                self._memo[index] = finished
        elif not isinstance(
            target, dict
        ):  # the attributes of an OrderedDict, such as a state dict's _metadata, are left out
            raise Refused(f"sets the state of a {type(target).__name__}")

    def _persistent_id(self, argument: Any) -> None:
        self._stack.append(self._resolved(argument))

    def _binary_persistent_id(self, _: Any) -> None:
        self._stack.append(self._resolved(self._stack.pop()))

    def _resolved(self, identity: Any) -> Any:
        if self._persistent is None:
            raise Refused("refers to data outside itself")
        return self._persistent(identity)


_CONSTANTS = frozenset(
    {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"}
    | {"STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"}
    | {"BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"}
)
_NEW: Mapping[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_DICT": dict,
    "EMPTY_SET": set,
}
_FROM_MARK: Mapping[str, Callable[[list[Any]], Any]] = {
    "LIST": list,
    "TUPLE": tuple,
    "FROZENSET": lambda items: frozenset(checked_keys(items)),
    "DICT": lambda items: dict(zip(checked_keys(items[::2]), items[1::2], strict=True)),
}
_FROM_TOP: Mapping[str, int] = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_HANDLERS: Mapping[str, Callable[[PickleMachine, Any], None]] = {
    "MARK": PickleMachine._mark,
    "POP": PickleMachine._pop,
    "POP_MARK": PickleMachine._pop_mark,
    "DUP": PickleMachine._duplicate,
    "MEMOIZE": PickleMachine._memoise,
    "APPEND": PickleMachine._append,
    "APPENDS": PickleMachine._appends,
    "ADDITEMS": PickleMachine._add_items,
    "SETITEM": PickleMachine._set_item,
    "SETITEMS": PickleMachine._set_items,
    "GLOBAL": PickleMachine._global,
    "STACK_GLOBAL": PickleMachine._stack_global,
    "REDUCE": PickleMachine._reduce,
    "NEWOBJ": PickleMachine._reduce,
    "NEWOBJ_EX": PickleMachine._new_object_with_names,
    "OBJ": PickleMachine._object,
    "INST": PickleMachine._instance,
    "BUILD": PickleMachine._build,
    "PERSID": PickleMachine._persistent_id,
    "BINPERSID": PickleMachine._binary_persistent_id,
}


def named(module: str, name: str) -> Global:
    """A global of a checkpoint. Raises Refused for what belongs to Python itself and is not on
    the list of harmless names.
    """
    module = _PYTHON_2.get(module, module)
    if module.partition(".")[0] in _STANDARD and name not in HARMLESS.get(module, ()):
        raise Refused(f"asks for {module}.{name}, which has no place in a checkpoint")
    *owners, last = name.split(".")
    if any(part in _STANDARD for part in (*module.split(".")[1:], *owners)) and owners:
        raise Refused(f"asks for {module}.{name}, which has no place in a checkpoint")
    if any(part.startswith("__") for part in (*owners, last)):
        raise Refused(f"asks for {module}.{name}, which has no place in a checkpoint")
    return Global(module, name)
