"""A stream of tokens, and the expressions in it. They climb by precedence; depth is bounded by NESTING_MAX."""

from __future__ import annotations

from typing import Final, NoReturn

from althing.ledger.vm.errors import LanguageError
from althing.ledger.vm.language import syntax as s
from althing.ledger.vm.language.tokens import Token
from althing.ledger.vm.limits import ITEMS_MAX, NESTING_MAX

__all__ = ["LIBRARY", "ExpressionParser"]

LIBRARY: Final = "althing.contract"

# Binary operators by how strongly they bind (Python Language Reference 6.17); comparisons, not, and, or stand below.
_BINDING: Final = {
    **dict.fromkeys(("|",), 1),
    **dict.fromkeys(("^",), 2),
    **dict.fromkeys(("&",), 3),
    **dict.fromkeys(("<<", ">>"), 4),
    **dict.fromkeys(("+", "-"), 5),
    **dict.fromkeys(("*", "/", "//", "%", "@"), 6),
}
_COMPARISONS: Final = frozenset(("==", "!=", "<", "<=", ">", ">=", "in", "not", "is"))
_INSTEAD_OF: Final = {
    "lambda": "Define a function.",
    "yield": "Collect the values in a list and return it.",
    "await": "A contract runs from start to end; there is nothing to wait for.",
    "async": "A contract runs from start to end; there is nothing to wait for.",
    "global": "Keep state in fields of the contract.",
    "nonlocal": "Keep state in fields of the contract.",
    "with": "Use try and finally.",
    "import": f"Import names with: from {LIBRARY} import …",
}


class ExpressionParser:
    def __init__(self, stream: list[Token] | tuple[Token, ...], depth: int = 0) -> None:
        self._tokens = stream
        self._at = 0
        self._depth = depth

    # --- expressions

    def _expressions(self) -> s.Expression:
        """One, or several between commas, which are a tuple."""
        token = self._now
        first = self._expression()
        if self._now.text != "," or self._now.kind != "op":
            return first
        items = [first]
        while self._take(","):
            if self._now.kind in ("newline", "end") or self._now.text in ("=", ")", "]", ":", "}"):
                break
            items.append(self._expression())
            self._bound(items)
        return s.Sequence(token.line, token.column, "tuple", tuple(items))

    def _targets(self) -> s.Expression:
        """What `for` assigns to: `in` ends it, so it is no full expression."""
        token = self._now
        first = self._postfix()
        if self._now.text != ",":
            return first
        items = [first]
        while self._take(","):
            if self._now.text == "in":
                break
            items.append(self._postfix())
            self._bound(items)
        return s.Sequence(token.line, token.column, "tuple", tuple(items))

    def _expression(self) -> s.Expression:
        token = self._now
        outer = self._deeper(token)
        value = self._or()
        if self._now.text == ":=":
            self._refuse(self._now, "there is no assignment inside expressions", "Assign on a line before.")
        if self._now.kind == "keyword" and self._now.text == "if":
            self._next()
            test = self._or()
            self._expect("else")
            value = s.Conditional(token.line, token.column, test, value, self._expression())
        self._depth = outer
        return value

    def _or(self) -> s.Expression:
        left = self._and()
        while self._now.kind == "keyword" and self._now.text == "or":
            token = self._next()
            left = s.Boolean(token.line, token.column, "or", left, self._and())
        return left

    def _and(self) -> s.Expression:
        left = self._not()
        while self._now.kind == "keyword" and self._now.text == "and":
            token = self._next()
            left = s.Boolean(token.line, token.column, "and", left, self._not())
        return left

    def _not(self) -> s.Expression:
        if self._now.kind == "keyword" and self._now.text == "not":
            token = self._next()
            outer = self._deeper(token)
            operand = self._not()
            self._depth = outer
            return s.Unary(token.line, token.column, "not", operand)
        return self._comparison()

    def _comparison(self) -> s.Expression:
        token = self._now
        operands = [self._binary(0)]
        operators: list[str] = []
        while self._now.kind in ("op", "keyword") and self._now.text in _COMPARISONS:
            operator = self._next().text
            if operator == "not":
                self._expect("in")
                operator = "not in"
            elif operator == "is" and self._take("not"):
                operator = "is not"
            operators.append(operator)
            operands.append(self._binary(0))
            self._bound(operands)
        if not operators:
            return operands[0]
        return s.Compare(token.line, token.column, tuple(operators), tuple(operands))

    def _binary(self, binding: int) -> s.Expression:
        left = self._unary()
        while self._now.kind == "op" and _BINDING.get(self._now.text, 0) > binding:
            token = self._next()
            if token.text == "@":
                self._refuse(token, "there is no operator @", "")
            right = self._binary(_BINDING[token.text])
            left = s.Binary(token.line, token.column, token.text, left, right)
        return left

    def _unary(self) -> s.Expression:
        token = self._now
        if token.kind == "op" and token.text in ("-", "+", "~"):
            self._next()
            outer = self._deeper(token)
            operand = self._unary()
            self._depth = outer
            return s.Unary(token.line, token.column, token.text, operand)
        value = self._postfix()
        if self._now.text == "**" and self._now.kind == "op":
            power = self._next()
            outer = self._deeper(power)
            value = s.Binary(power.line, power.column, "**", value, self._unary())
            self._depth = outer
        return value

    def _postfix(self) -> s.Expression:
        value = self._atom()
        chained = 0
        while self._now.kind == "op" and self._now.text in ("(", "[", "."):
            token = self._next()
            chained += 1
            if chained > NESTING_MAX:
                self._refuse(token, "calls and subscripts are chained too long", "Name a value in between.")
            if token.text == ".":
                value = s.Attribute(token.line, token.column, value, self._attribute())
            elif token.text == "(":
                value = self._call(token, value)
            else:
                value = s.Subscript(token.line, token.column, value, self._index())
        return value

    def _attribute(self) -> str:
        token = self._now
        name = self._name()
        if name.startswith("__"):
            self._refuse(token, f"{name} reaches behind the language", "Use the methods that the reference lists.")
        return name

    def _call(self, token: Token, function: s.Expression) -> s.Call:
        arguments: list[s.Expression] = []
        named: list[tuple[str, s.Expression]] = []
        while self._now.text != ")" or self._now.kind != "op":
            at = self._now
            if at.text in ("*", "**") and at.kind == "op":
                self._refuse(at, "arguments are written one by one", "Pass the list itself.")
            if at.kind == "name" and self._tokens[self._at + 1].text == "=" and self._tokens[self._at + 1].kind == "op":
                name = self._name()
                self._next()
                if any(name == known for known, _ in named):
                    self._refuse(at, f"{name} is given twice", "")
                named.append((name, self._expression()))
            elif named:
                self._refuse(at, "arguments by position stand before arguments by name", "")
            else:
                arguments.append(self._expression())
                if self._now.text == "for":
                    self._refuse(self._now, "there are no generator expressions", "Put [ ] around it.")
            self._bound(arguments)
            if not self._take(","):
                break
        self._expect(")")
        return s.Call(token.line, token.column, function, tuple(arguments), tuple(named))

    def _index(self) -> s.Expression:
        token = self._now
        lower = None if token.text == ":" and token.kind == "op" else self._expressions()
        if not self._take(":"):
            assert lower is not None, "without a colon there was an expression"
            self._expect("]")
            return lower
        upper = None if self._now.text in ("]", ":") else self._expression()
        if self._now.text == ":":
            self._refuse(self._now, "slices have no step", "Use reversed() or a comprehension.")
        self._expect("]")
        return s.Slice(token.line, token.column, lower, upper)

    def _atom(self) -> s.Expression:
        token = self._next()
        at = (token.line, token.column)
        match token.kind:
            case "name":
                if token.text.startswith("__"):
                    self._refuse(token, f"{token.text} reaches behind the language", "")
                return s.Name(*at, token.text)
            case "int":
                assert isinstance(token.value, int)
                return s.Constant(*at, token.value)
            case "str" | "bytes" | "format":
                return self._strings(token)
            case "keyword" if token.text in ("True", "False", "None"):
                return s.Constant(*at, {"True": True, "False": False, "None": None}[token.text])
            case "op" if token.text == "(":
                return self._parenthesis(token)
            case "op" if token.text == "[":
                return self._list(token)
            case "op" if token.text == "{":
                return self._dict(token)
            case "op" if token.text in ("*", "**"):
                self._refuse(token, "there is no unpacking with *", "Take the parts by index or slice.")
        self._unexpected(token, "an expression is expected here")

    def _strings(self, token: Token) -> s.Expression:
        """Strings beside each other are one string."""
        parts: list[s.Expression] = []
        run = [token]
        while self._now.kind in ("str", "bytes", "format"):
            run.append(self._next())
        if any((piece.kind == "bytes") != (token.kind == "bytes") for piece in run):
            self._refuse(token, "bytes and text stand beside each other", "")
        if token.kind == "bytes":
            return s.Constant(token.line, token.column, b"".join(p.value for p in run if isinstance(p.value, bytes)))
        for piece in run:
            if isinstance(piece.value, tuple):
                for part in piece.value:
                    if part.expression is None:
                        parts.append(s.Constant(piece.line, piece.column, part.text))
                    else:
                        parts.append(ExpressionParser(part.expression, self._depth + 1).only())
            else:
                assert isinstance(piece.value, str)
                parts.append(s.Constant(piece.line, piece.column, piece.value))
        self._bound(parts)
        if all(isinstance(part, s.Constant) for part in parts) and all(piece.kind == "str" for piece in run):
            text = "".join(part.value for part in parts if isinstance(part, s.Constant) and isinstance(part.value, str))
            return s.Constant(token.line, token.column, text)
        return s.Format(
            token.line, token.column, tuple(p for p in parts if not (isinstance(p, s.Constant) and p.value == ""))
        )

    def only(self) -> s.Expression:
        """The one expression that these tokens are."""
        value = self._expressions()
        if self._now.kind != "end":
            self._unexpected(self._now, "one expression is expected here")
        return value

    def _parenthesis(self, token: Token) -> s.Expression:
        if self._take(")"):
            return s.Sequence(token.line, token.column, "tuple", ())
        value = self._expressions()
        if self._now.text == "for" and self._now.kind == "keyword":
            self._refuse(self._now, "there are no generator expressions", "Write a list: [ … for … ].")
        self._expect(")")
        return value

    def _list(self, token: Token) -> s.Expression:
        at = (token.line, token.column)
        if self._take("]"):
            return s.Sequence(*at, "list", ())
        first = self._expression()
        if self._now.text == "for" and self._now.kind == "keyword":
            clauses = self._clauses()
            self._expect("]")
            return s.Comprehension(*at, first, None, clauses)
        items = [first]
        while self._take(",") and self._now.text != "]":
            items.append(self._expression())
            self._bound(items)
        self._expect("]")
        return s.Sequence(*at, "list", tuple(items))

    def _dict(self, token: Token) -> s.Expression:
        at = (token.line, token.column)
        items: list[tuple[s.Expression, s.Expression]] = []
        while self._now.text != "}" or self._now.kind != "op":
            key = self._expression()
            if self._now.text in (",", "}", "for"):
                self._refuse(token, "there are no sets", "Use a list, or a dict whose values are True.")
            self._expect(":")
            items.append((key, self._expression()))
            self._bound(items)
            if len(items) == 1 and self._now.text == "for" and self._now.kind == "keyword":
                clauses = self._clauses()
                self._expect("}")
                return s.Comprehension(*at, items[0][0], items[0][1], clauses)
            if not self._take(","):
                break
        self._expect("}")
        return s.Dict(*at, tuple(items))

    def _clauses(self) -> tuple[s.Clause, ...]:
        clauses: list[s.Clause] = []
        while self._now.text == "for" and self._now.kind == "keyword":
            token = self._next()
            target = self._targets()
            self._expect("in")
            iterable = self._or()
            conditions: list[s.Expression] = []
            while self._now.text == "if" and self._now.kind == "keyword":
                self._next()
                conditions.append(self._or())
                self._bound(conditions)
            clauses.append(s.Clause(token.line, token.column, target, iterable, tuple(conditions)))
            if len(clauses) > 4:
                self._refuse(token, "a comprehension has at most four loops", "Write the loops out.")
        return tuple(clauses)

    # --- the stream

    @property
    def _now(self) -> Token:
        return self._tokens[self._at]

    def _next(self) -> Token:
        token = self._tokens[self._at]
        if token.kind != "end":
            self._at += 1
        return token

    def _take(self, text: str) -> bool:
        token = self._now
        if token.text == text and token.kind in ("op", "keyword"):
            self._at += 1
            return True
        return False

    def _take_kind(self, kind: str) -> bool:
        if self._now.kind == kind:
            self._at += 1
            return True
        return False

    def _expect(self, text: str) -> None:
        if not self._take(text):
            self._unexpected(self._now, f"'{text}' is expected here")

    def _expect_kind(self, kind: str, message: str) -> None:
        if not self._take_kind(kind):
            self._unexpected(self._now, message)

    def _line_end(self) -> None:
        if not self._take_kind("newline"):
            self._unexpected(self._now, "the line should end here")

    def _name(self) -> str:
        token = self._now
        if token.kind != "name":
            self._unexpected(token, "a name is expected here")
        self._at += 1
        return token.text

    def _deeper(self, token: Token) -> int:
        """Counts a level; returns the depth to go back to."""
        outer = self._depth
        if outer >= NESTING_MAX:
            self._refuse(token, f"nested deeper than {NESTING_MAX}", "Name inner values, or move them into functions.")
        self._depth = outer + 1
        return outer

    def _bound(self, items: list[s.Expression] | list[tuple[s.Expression, s.Expression]]) -> None:
        if len(items) > ITEMS_MAX:
            self._refuse(self._now, f"more than {ITEMS_MAX} items in one place", "")

    def _unexpected(self, token: Token, message: str) -> NoReturn:
        if token.kind == "keyword" and token.text in _INSTEAD_OF:
            self._refuse(token, f"'{token.text}' is not part of the language", _INSTEAD_OF[token.text])
        found = {
            "newline": "the line ends",
            "end": "the source ends",
            "indent": "an indentation",
            "dedent": "the block ends",
        }
        said = found.get(token.kind, f"'{token.text or token.kind}'")
        raise LanguageError("contract.syntax", f"{message}; found: {said}", token.line, token.column)

    def _refuse(self, token: Token, message: str, instead: str) -> NoReturn:
        raise LanguageError("contract.language", message, token.line, token.column, instead=instead)
