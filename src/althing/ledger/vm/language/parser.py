"""Tokens to the tree of a source. What Python has and the language has not is named, with what to write instead.

A recursive descent over Python's grammar.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from althing.ledger.vm.language import syntax as s
from althing.ledger.vm.language.expressions import LIBRARY, ExpressionParser
from althing.ledger.vm.language.tokens import Token, tokens
from althing.ledger.vm.limits import ITEMS_MAX, NESTING_MAX

__all__ = ["parse"]

_AUGMENTED: Final = frozenset(("+=", "-=", "*=", "/=", "//=", "%=", "**=", "<<=", ">>=", "&=", "|=", "^="))


def parse(source: str) -> s.Module:
    """The tree of a source text, or LanguageError."""
    return _Parser(tokens(source)).module()


class _Parser(ExpressionParser):
    # --- definitions

    def module(self) -> s.Module:
        text = self._docstring()
        imports: list[s.Import] = []
        constants: list[s.Assign] = []
        classes: list[s.Class] = []
        functions: list[s.Function] = []
        while self._now.kind != "end":
            token = self._now
            if token.text == "from" and token.kind == "keyword":
                imports.append(self._import())
            elif token.kind == "keyword" and token.text == "class":
                classes.append(self._class())
            elif (token.kind == "keyword" and token.text == "def") or token.text == "@":
                functions.append(self._function())
            elif token.kind == "name":
                statement = self._simple()
                if isinstance(statement, s.Declaration) and statement.value is not None:
                    name = s.Name(statement.line, statement.column, statement.name)
                    statement = s.Assign(statement.line, statement.column, name, statement.value)
                if not (isinstance(statement, s.Assign) and isinstance(statement.target, s.Name)):
                    self._refuse(
                        token, "statements stand inside functions", "Only constants, NAME = value, stand here."
                    )
                constants.append(statement)
            else:
                self._unexpected(token, "a module holds imports, constants, classes and functions")
        return s.Module(text, tuple(imports), tuple(constants), tuple(classes), tuple(functions))

    def _docstring(self) -> str:
        token, after = self._now, self._tokens[min(self._at + 1, len(self._tokens) - 1)]
        if token.kind != "str" or after.kind != "newline":
            return ""
        self._at += 2
        assert isinstance(token.value, str)
        return token.value

    def _import(self) -> s.Import:
        start = self._next()
        path = [self._name()]
        while self._take("."):
            path.append(self._name())
        if ".".join(path) != LIBRARY:
            self._refuse(start, f"only {LIBRARY} can be imported", f"from {LIBRARY} import …")
        self._expect("import")
        if self._now.text == "*":
            self._refuse(self._now, "a star import hides what a contract uses", "Name what you import.")
        names: list[str] = []
        bracket = self._take("(")
        while True:
            names.append(self._name())
            if self._now.text == "as":
                self._refuse(self._now, "names keep their names", "Import without 'as'.")
            if not self._take(",") or (bracket and self._now.text == ")"):
                break
        if bracket:
            self._expect(")")
        self._line_end()
        return s.Import(start.line, start.column, tuple(names))

    def _class(self) -> s.Class:
        start = self._next()
        name = self._name()
        if not self._take("("):
            self._refuse(self._now, "a class says what it is", f"class {name}(Contract): or (Record) or (Exception)")
        base = self._name()
        if self._now.text != ")":
            self._refuse(self._now, "a class has one base", "Put what is shared into functions.")
        self._expect(")")
        text, fields, methods = "", [], []
        self._expect(":")
        self._expect_kind("newline", "a class body begins on a line of its own")
        self._expect_kind("indent", "the body of the class is missing")
        text = self._docstring()
        while not self._take_kind("dedent"):
            token = self._now
            if token.text == "@" or (token.kind == "keyword" and token.text == "def"):
                methods.append(self._function())
                continue
            if token.kind == "keyword" and token.text == "class":
                self._refuse(token, "classes do not nest", "Define it at the top of the file.")
            statement = self._simple()
            if isinstance(statement, s.Declaration):
                fields.append(statement)
            elif not isinstance(statement, s.Pass):
                self._refuse(token, "a class holds typed fields and methods", "Write name: type, or def name(self, …).")
        return s.Class(start.line, start.column, name, base, tuple(fields), tuple(methods), text)

    def _function(self) -> s.Function:
        decorators: list[s.Name] = []
        while self._now.text == "@" and self._now.kind == "op":
            self._next()
            token = self._now
            decorators.append(s.Name(token.line, token.column, self._name()))
            if self._now.kind != "newline":
                self._refuse(self._now, "decorators take no arguments", "Write @call or @view.")
            self._line_end()
        start = self._now
        self._expect("def")
        name = self._name()
        self._expect("(")
        parameters: list[s.Parameter] = []
        while self._now.text != ")":
            token = self._now
            if token.text in ("*", "**", "/"):
                self._refuse(token, "a function names each of its parameters", "Take a list or a dict.")
            parameter = self._name()
            annotation = self._annotation() if self._take(":") else None
            default = self._expression() if self._take("=") else None
            parameters.append(s.Parameter(token.line, token.column, parameter, annotation, default))
            if not self._take(","):
                break
        self._expect(")")
        returns = self._annotation() if self._take("->") else None
        body = self._block()
        text = ""
        if isinstance(body[0], s.Evaluate) and isinstance(body[0].value, s.Constant):
            value = body[0].value.value
            if isinstance(value, str):
                text, body = value, body[1:]
        return s.Function(start.line, start.column, name, tuple(decorators), tuple(parameters), returns, body, text)

    def _annotation(self) -> s.Annotation:
        token = self._now
        with_depth = self._deeper(token)
        name = "None" if self._take("None") else self._name()
        arguments: list[s.Annotation] = []
        if self._take("["):
            while True:
                arguments.append(self._annotation())
                if not self._take(",") or self._now.text == "]":
                    break
            self._expect("]")
        found = s.Annotation(token.line, token.column, name, tuple(arguments))
        if self._take("|"):
            if not self._take("None"):
                self._refuse(self._now, "a type has one form, or may be None", "Write T | None.")
            found = s.Annotation(token.line, token.column, "Optional", (found,))
        self._depth = with_depth
        return found

    # --- statements

    def _block(self) -> tuple[s.Statement, ...]:
        self._expect(":")
        if self._now.kind != "newline":
            return (self._simple(),)
        self._line_end()
        self._expect_kind("indent", "an indented block is missing")
        body: list[s.Statement] = []
        while not self._take_kind("dedent"):
            body.append(self._statement())
            if len(body) > ITEMS_MAX:
                self._refuse(self._now, f"a block has more than {ITEMS_MAX} statements", "Divide it into functions.")
        return tuple(body)

    def _statement(self) -> s.Statement:
        token = self._now
        if token.kind == "indent":
            self._refuse(token, "unexpected indentation", "")
        if token.kind == "keyword":
            compound = _COMPOUND.get(token.text)
            if compound is not None:
                outer = self._deeper(token)
                found = compound(self, self._next())
                self._depth = outer
                return found
            if token.text in ("def", "class"):
                self._refuse(token, "definitions do not nest", "Define it at the top of the file, or as a method.")
        if token.kind == "name" and token.text == "match" and self._tokens[self._at + 1].kind in ("name", "int", "str"):
            self._refuse(token, "there is no match statement", "Use if and elif.")
        return self._simple()

    def _if(self, start: Token) -> s.Statement:
        # Each elif is an if in the else of the one before; a long ladder is built from its end, not by recursion.
        tests = [(start, self._expression(), self._block())]
        while self._now.text == "elif" and self._now.kind == "keyword":
            token = self._next()
            tests.append((token, self._expression(), self._block()))
            if len(tests) > NESTING_MAX:
                self._refuse(
                    token, "a ladder of elif is too long", "Look the case up in a dict, or divide the function."
                )
        otherwise = self._block() if self._take("else") else ()
        for token, test, body in reversed(tests):
            otherwise = (s.If(token.line, token.column, test, body, otherwise),)
        assert isinstance(otherwise[0], s.If), "the first test is the statement"
        return otherwise[0]

    def _while(self, start: Token) -> s.Statement:
        found = s.While(start.line, start.column, self._expression(), self._block())
        self._no_else()
        return found

    def _for(self, start: Token) -> s.Statement:
        target = self._targets()
        self._expect("in")
        found = s.For(start.line, start.column, target, self._expressions(), self._block())
        self._no_else()
        return found

    def _no_else(self) -> None:
        if self._now.text == "else" and self._now.kind == "keyword":
            self._refuse(self._now, "loops have no else", "Set a variable before break and test it after the loop.")

    def _try(self, start: Token) -> s.Statement:
        body = self._block()
        handlers: list[s.Handler] = []
        while self._now.text == "except" and self._now.kind == "keyword":
            token = self._next()
            if self._now.text == ":":
                self._refuse(token, "a handler names what it catches", "Write except Exception:")
            names: list[s.Name] = []
            bracket = self._take("(")
            while True:
                at = self._now
                names.append(s.Name(at.line, at.column, self._name()))
                if not bracket or not self._take(",") or self._now.text == ")":
                    break
            if bracket:
                self._expect(")")
            bound = self._name() if self._take("as") else None
            handlers.append(s.Handler(token.line, token.column, tuple(names), bound, self._block()))
        otherwise = self._block() if handlers and self._take("else") else ()
        final = self._block() if self._take("finally") else ()
        if not handlers and not final:
            self._refuse(start, "try has neither except nor finally", "")
        return s.Try(start.line, start.column, body, tuple(handlers), otherwise, final)

    def _simple(self) -> s.Statement:
        token = self._now
        statement = self._small(token)
        self._line_end()
        return statement

    def _small(self, token: Token) -> s.Statement:
        at = (token.line, token.column)
        if token.kind == "keyword":
            match token.text:
                case "pass" | "break" | "continue":
                    self._next()
                    return (
                        s.Pass(*at)
                        if token.text == "pass"
                        else s.Break(*at)
                        if token.text == "break"
                        else s.Continue(*at)
                    )
                case "return":
                    self._next()
                    return s.Return(*at, None if self._now.kind == "newline" else self._expressions())
                case "raise":
                    self._next()
                    value = None if self._now.kind == "newline" else self._expression()
                    if self._now.text == "from":
                        self._refuse(self._now, "errors have no cause", "Put it into the message.")
                    return s.Raise(*at, value)
                case "assert":
                    self._next()
                    test = self._expression()
                    return s.Assert(*at, test, self._expression() if self._take(",") else None)
                case "del":
                    self._next()
                    return s.Delete(*at, self._expression())
        value = self._expressions()
        if self._now.kind != "op":
            return s.Evaluate(*at, value)
        if self._take(":"):
            if not isinstance(value, s.Name):
                self._refuse(token, "only a name is declared", "")
            annotation = self._annotation()
            return s.Declaration(*at, value.name, annotation, self._expressions() if self._take("=") else None)
        if self._take("="):
            assigned = self._expressions()
            if self._now.text == "=":
                self._refuse(self._now, "one target an assignment", "Assign on two lines.")
            return s.Assign(*at, value, assigned)
        if self._now.text in _AUGMENTED:
            operator = self._next().text[:-1]
            return s.Augmented(*at, value, operator, self._expressions())
        return s.Evaluate(*at, value)


_COMPOUND: Final[dict[str, Callable[[_Parser, Token], s.Statement]]] = {
    "if": _Parser._if,
    "while": _Parser._while,
    "for": _Parser._for,
    "try": _Parser._try,
}
