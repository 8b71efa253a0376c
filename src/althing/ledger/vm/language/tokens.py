"""Source text to tokens: the lexical rules of docs/spec/contracts.md, which are Python's where both have a construct."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from althing.ledger.vm.errors import LanguageError
from althing.ledger.vm.limits import INT_MAX, NAME_CHARS_MAX, NESTING_MAX, SOURCE_BYTES_MAX

__all__ = ["KEYWORDS", "FormatPart", "Token", "tokens"]

KEYWORDS: Final = frozenset(
    (
        "False",
        "None",
        "True",
        "and",
        "as",
        "assert",
        "async",
        "await",
        "break",
        "class",
        "continue",
        "def",
        "del",
        "elif",
        "else",
        "except",
        "finally",
        "for",
        "from",
        "global",
        "if",
        "import",
        "in",
        "is",
        "lambda",
        "nonlocal",
        "not",
        "or",
        "pass",
        "raise",
        "return",
        "try",
        "while",
        "with",
        "yield",
    )
)

_OPERATOR: Final = re.compile(
    r"\*\*=|//=|>>=|<<=|\.\.\.|:=|!=|->|==|<=|>=|\+=|-=|\*=|/=|%=|&=|\|=|\^=|@=|\*\*|//|<<|>>|[-+*/%&|^~<>()\[\]{},:.=@;]"
)
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NUMBER: Final = re.compile(
    r"0[xX](?:_?[0-9a-fA-F])+|0[bB](?:_?[01])+|0[oO](?:_?[0-7])+|[1-9](?:_?[0-9])*|0(?:_?0)*", re.ASCII
)
_STRING: Final = re.compile(r"""([A-Za-z]{0,2})('''|\"""|'|")""")
_SIMPLE_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", "'": "'", '"': '"', "0": "\0"}
_CLOSED_BY: Final = {"(": ")", "[": "]", "{": "}"}
_HEX_ESCAPES: Final = {"x": 2, "u": 4, "U": 8}


@dataclass(frozen=True, slots=True)
class FormatPart:
    """A piece of an f-string: literal text, or the tokens of an expression."""

    text: str
    expression: tuple[Token, ...] | None


@dataclass(frozen=True, slots=True)
class Token:
    """`kind` is name, keyword, int, str, bytes, format, op, newline, indent, dedent or end."""

    kind: str
    text: str
    line: int
    column: int
    value: int | str | bytes | tuple[FormatPart, ...] | None = None


def tokens(source: str) -> list[Token]:
    """All tokens of a source, ending in one of kind `end`, or LanguageError."""
    if len(source.encode("utf-8", "surrogatepass")) > SOURCE_BYTES_MAX:
        raise LanguageError("contract.language", f"the source has more than {SOURCE_BYTES_MAX} bytes", 1, 1)
    for index, char in enumerate(source):
        if (char < " " and char != "\n") or "\ud800" <= char <= "\udfff" or char in "\x7f\ufeff":
            line = source.count("\n", 0, index) + 1
            column = index - (source.rfind("\n", 0, index) + 1) + 1
            instead = "Indent with spaces." if char == "\t" else "Save the file as UTF-8 text with line ends of \\n."
            raise LanguageError(
                "contract.syntax", f"the character U+{ord(char):04X} is not allowed", line, column, instead=instead
            )
    return _Lexer(source, 1, 1).all()


class _Lexer:
    """Reads one text. `line` and `column` are where it starts in the file, for an f-string's expressions."""

    def __init__(self, text: str, line: int, column: int, *, inside_string: bool = False) -> None:
        self._text = text
        self._at = 0
        self._line = line
        self._line_start = -(column - 1)
        self._inside_string = inside_string
        self._brackets: list[str] = []
        self._out: list[Token] = []

    def all(self) -> list[Token]:
        indents = [0]
        while self._at < len(self._text):
            width = self._indentation()
            if width is None:
                continue
            if width > indents[-1]:
                if len(indents) > NESTING_MAX:
                    raise self._error("blocks are nested too deep", instead="Move inner blocks into functions.")
                indents.append(width)
                self._add("indent", "")
            while width < indents[-1]:
                indents.pop()
                self._add("dedent", "")
            if width != indents[-1]:
                raise self._error("this indentation matches no block above")
            self._logical_line()
        for _ in indents[1:]:
            self._add("dedent", "")
        self._add("end", "")
        return self._out

    def expression(self) -> tuple[Token, ...]:
        """The tokens of an f-string's expression, which has no lines of its own."""
        while self._at < len(self._text):
            self._token()
        self._add("end", "")
        return tuple(self._out)

    def _indentation(self) -> int | None:
        """The width of the line's indentation, or None when the line holds no token; then it is passed over."""
        start = self._at
        while self._peek() == " ":
            self._at += 1
        if self._peek() == "#":
            self._comment()
        if self._peek() in ("\n", ""):
            self._newline()
            return None
        return self._at - start

    def _logical_line(self) -> None:
        while True:
            char = self._peek()
            if char == "":
                if self._brackets:
                    raise self._error(f"'{self._brackets[-1]}' is never closed")
                self._add("newline", "")
                return
            if char == "\n":
                if self._brackets:
                    self._newline()
                    continue
                self._add("newline", "")
                self._newline()
                return
            if char == "#":
                self._comment()
                continue
            self._token()

    def _token(self) -> None:
        char = self._peek()
        if char == " ":
            self._at += 1
            return
        if match := _STRING.match(self._text, self._at):
            self._string(match)
            return
        if match := _NAME.match(self._text, self._at):
            name = match.group()
            if len(name) > NAME_CHARS_MAX:
                raise self._error(f"a name has more than {NAME_CHARS_MAX} characters")
            self._add("keyword" if name in KEYWORDS else "name", name)
            self._at = match.end()
            return
        if char.isascii() and char.isdigit():
            self._number()
            return
        if char == ".":
            following = self._text[self._at + 1 : self._at + 2]
            if following.isascii() and following.isdigit():
                raise self._error("there are no floating-point numbers", instead=f'Write Decimal("0.{following}…").')
        if char == "\\":
            raise self._error("a line cannot be continued with a backslash", instead="Use brackets.")
        match = _OPERATOR.match(self._text, self._at)
        if match is None:
            raise self._error(
                f"the character {char!a} is not allowed here", instead="Names are made of ASCII letters, digits and _."
            )
        operator = match.group()
        if operator == ";":
            raise self._error("one statement a line", instead="Put the next statement on a line of its own.")
        if operator in "([{":
            if len(self._brackets) >= NESTING_MAX:
                raise self._error("brackets are nested too deep", instead="Name the inner values.")
            self._brackets.append(operator)
        elif operator in ")]}" and (not self._brackets or _CLOSED_BY[self._brackets.pop()] != operator):
            raise self._error(f"'{operator}' closes nothing")
        self._add("op", operator)
        self._at = match.end()

    def _number(self) -> None:
        match = _NUMBER.match(self._text, self._at)
        assert match is not None, "a digit begins a number"
        end = match.end()
        following = self._text[end : end + 1]
        if following == "." or (following in ("e", "E") and match.group()[:2].lower() != "0x"):
            literal = re.match(r"[0-9_.eE+-]+", self._text[self._at :])
            text = literal.group() if literal else match.group()
            raise self._error("there are no floating-point numbers", instead=f'Write Decimal("{text}").')
        if following.isalnum() or following == "_":
            raise self._error("a number is followed by a letter or digit that does not belong to it")
        if end - self._at > 100:
            raise self._error("a number has too many digits")
        value = int(match.group().replace("_", ""), 0)
        if value > INT_MAX + 1:  # one more: its negative is a number
            raise self._error("integers have at most 256 bits")
        self._add("int", match.group(), value)
        self._at = end

    def _string(self, match: re.Match[str]) -> None:
        prefix, quote = match.group(1).lower(), match.group(2)
        if prefix not in ("", "b", "f", "r"):
            raise self._error(
                f"strings with the prefix {prefix!r} are not part of the language", instead="Use b, f or r."
            )
        if self._inside_string and (prefix == "f" or len(quote) == 3):
            raise self._error(
                "an f-string's expression holds plain strings only", instead="Name the inner value first."
            )
        token_at, line, column = self._at, self._line, self._column()
        self._at = match.end()
        pieces: list[str] = []
        parts: list[FormatPart] = []
        while not self._text.startswith(quote, self._at):
            char = self._peek()
            if char == "" or (char == "\n" and len(quote) == 1):
                raise LanguageError("contract.syntax", "the string is never closed", line, column)
            if char == "\\" and prefix != "r":
                pieces.append(self._escape(prefix == "b"))
            elif prefix == "r" and char == "\\":
                raise self._error(
                    "a raw string ends in or escapes with a backslash", instead="Write \\\\ in a plain string."
                )
            elif prefix == "f" and char in "{}":
                if self._text.startswith(char * 2, self._at):
                    pieces.append(char)
                    self._at += 2
                elif char == "}":
                    raise self._error("a single '}' in an f-string", instead="Write }} for the character.")
                else:
                    parts.append(FormatPart("".join(pieces), None))
                    pieces = []
                    parts.append(FormatPart("", self._format_expression(quote)))
            else:
                if prefix == "b" and not char.isascii():
                    raise self._error("bytes hold ASCII characters and \\x escapes only")
                pieces.append(char)
                self._newline() if char == "\n" else self._advance()
        self._at += len(quote)
        text = "".join(pieces)
        kind, value = "str", text
        if prefix == "b":
            self._out.append(Token("bytes", "", line, column, text.encode("latin-1")))
        elif prefix == "f":
            parts.append(FormatPart(text, None))
            self._out.append(Token("format", "", line, column, tuple(parts)))
        else:
            self._out.append(Token(kind, self._text[token_at : self._at], line, column, value))

    def _escape(self, for_bytes: bool) -> str:
        following = self._text[self._at + 1 : self._at + 2]
        after = self._text[self._at + 2 : self._at + 3]
        if following == "0" and after.isascii() and after.isdigit():
            raise self._error("octal escapes are not part of the language", instead="Write \\x and two digits.")
        if following in _SIMPLE_ESCAPES and following:
            self._at += 2
            return _SIMPLE_ESCAPES[following]
        width = _HEX_ESCAPES.get(following, 0)
        digits = self._text[self._at + 2 : self._at + 2 + width]
        if not width or (for_bytes and following != "x"):
            raise self._error("this escape is not part of the language", instead="Write \\\\ for a backslash.")
        if len(digits) != width or not re.fullmatch("[0-9a-fA-F]+", digits):
            raise self._error(f"\\{following} needs {width} hexadecimal digits")
        code = int(digits, 16)
        if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
            raise self._error("this escape is not a character")
        self._at += 2 + width
        return chr(code)

    def _format_expression(self, quote: str) -> tuple[Token, ...]:
        """From '{' to past its '}'. What differs between Python versions (quotes, backslashes, lines) is refused."""
        line, column = self._line, self._column()
        start = self._at + 1
        depth, at, string = 0, start, ""
        while True:
            char = self._text[at : at + 1]
            if char in ("", "\n", "\\", "#") or self._text.startswith(quote, at) or (char == quote[0] and not string):
                raise LanguageError(
                    "contract.syntax",
                    "an f-string's expression stays on its line, without the outer quote, backslashes and comments",
                    line,
                    column,
                    instead="Name the value on a line before.",
                )
            if string:
                string = "" if char == string else string
            elif char in "'\"":
                string = char
            elif char in "([{":
                depth += 1
            elif char in ")]}":
                if char == "}" and depth == 0:
                    break
                depth -= 1
            elif char in ":!" and depth == 0 and self._text[at + 1 : at + 2] != "=":
                raise LanguageError(
                    "contract.language",
                    "f-strings have no conversions and no format specifications",
                    line,
                    column,
                    instead="Use round(), str() and the methods of str.",
                )
            at += 1
        inner = self._text[start:at]
        if not inner.strip():
            raise LanguageError("contract.syntax", "an f-string's expression is empty", line, column)
        if inner.rstrip().endswith("=") and not inner.rstrip().endswith("=="):
            raise LanguageError(
                "contract.language", "f-strings have no '=' form", line, column, instead="Write the name as text."
            )
        self._at = at + 1
        return _Lexer(inner, line, column + 1, inside_string=True).expression()

    def _comment(self) -> None:
        while self._peek() not in ("\n", ""):
            self._at += 1

    def _newline(self) -> None:
        if self._at < len(self._text):
            self._at += 1
            self._line += 1
            self._line_start = self._at

    def _advance(self) -> None:
        self._at += 1

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _column(self) -> int:
        return self._at - self._line_start + 1

    def _add(self, kind: str, text: str, value: int | str | bytes | None = None) -> None:
        self._out.append(Token(kind, text, self._line, self._column(), value))

    def _error(self, message: str, *, instead: str = "") -> LanguageError:
        return LanguageError("contract.syntax", message, self._line, self._column(), instead=instead)
