"""Rust names as the kernel prints them, readable and the same in every build.

The v0 mangling (https://doc.rust-lang.org/rustc/symbol-mangling/v0.html) has the
crate's hash in it, which changes with the compiler: it is dropped. Generic
arguments are dropped too. What isn't understood stays as it was.
"""

from __future__ import annotations

MAX_NAME = 1024
MAX_DEPTH = 32

_BASIC = {
    "a": "i8", "b": "bool", "c": "char", "d": "f64", "e": "str", "f": "f32", "h": "u8",
    "i": "isize", "j": "usize", "l": "i32", "m": "u32", "n": "i128", "o": "u128", "s": "i16",
    "t": "u16", "u": "()", "v": "...", "x": "i64", "y": "u64", "z": "!", "p": "_",
}  # fmt: skip
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def demangle(name: str) -> str:
    """``crate::module::function`` or ``<crate::Type>::method`` for a v0 name."""
    if not name.startswith("_R") or len(name) > MAX_NAME:
        return name
    try:
        return _Parser(name[2:]).path() or name
    except (ValueError, IndexError, KeyError):
        return name


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.depth = 0
        self.steps = 0

    def take(self) -> str:
        self.steps += 1
        if self.steps > 4 * MAX_NAME:  # back references can multiply
            raise ValueError
        self.at += 1
        return self.text[self.at - 1]

    def eat(self, letter: str) -> bool:
        if self.text[self.at : self.at + 1] == letter:
            self.at += 1
            return True
        return False

    def number(self) -> int:
        """A base-62 number up to its underscore."""
        if self.eat("_"):
            return 0
        value = 0
        while not self.eat("_"):
            value = value * 62 + _DIGITS.index(self.take())
        return value + 1

    def identifier(self) -> str:
        if self.eat("s"):
            self.number()  # tells equal names apart; a crate's hash
        unicode = self.eat("u")
        digits = ""
        while self.text[self.at : self.at + 1].isdigit() and digits != "0":
            digits += self.take()
        length = int(digits)
        self.eat("_")
        word = self.text[self.at : self.at + length]
        if len(word) != length or unicode:
            raise ValueError
        self.at += length
        return word

    def back(self, read: str) -> str:
        target = self.number()
        here = self.at
        if target >= here:
            raise ValueError
        self.at = target
        found: str = getattr(self, read)()
        self.at = here
        return found

    def path(self) -> str:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise ValueError
        try:
            return self._path()
        finally:
            self.depth -= 1

    def _path(self) -> str:
        kind = self.take()
        if kind == "C":
            return self.identifier()
        if kind == "N":
            space = self.take()
            parent = self.path()
            own = self.identifier()
            if space.isupper():
                own = "{closure}" if space == "C" else "{shim}"
            return f"{parent}::{own}" if own else parent
        if kind in "MX":
            if self.eat("s"):
                self.number()
            self.path()  # where the impl block is: of no use to a reader
            if kind == "M":
                return f"<{self.type()}>"
        if kind in "XY":
            own = self.type()
            return f"<{own} as {self.path()}>"
        if kind == "I":
            parent = self.path()
            while not self.eat("E"):
                self.argument()
            return parent
        if kind == "B":
            return self.back("path")
        raise ValueError

    def argument(self) -> None:
        if self.eat("L"):
            self.number()
        elif self.eat("K"):
            self.constant()
        else:
            self.type()

    def constant(self) -> str:
        if self.eat("B"):
            return self.back("constant")
        self.type()
        while not self.eat("_"):
            self.take()
        return "_"

    def type(self) -> str:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise ValueError
        try:
            return self._type()
        finally:
            self.depth -= 1

    def _type(self) -> str:
        kind = self.text[self.at]
        if kind in _BASIC:
            self.at += 1
            return _BASIC[kind]
        if kind in "CMXYNI":
            return self.path()
        self.at += 1
        if kind == "B":
            return self.back("type")
        if kind in "RQ":
            if self.eat("L"):
                self.number()
            return ("&" if kind == "R" else "&mut ") + self.type()
        if kind in "PO":
            return ("*const " if kind == "P" else "*mut ") + self.type()
        if kind == "S":
            return f"[{self.type()}]"
        if kind == "A":
            inner = self.type()
            self.constant()
            return f"[{inner}; _]"
        if kind == "T":
            parts = []
            while not self.eat("E"):
                parts.append(self.type())
            return f"({', '.join(parts)})"
        raise ValueError
