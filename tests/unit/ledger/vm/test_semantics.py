# ruff: noqa: E501 -- a body is one text
"""What the language has, it has with Python's meaning: the same bodies run here and in Python itself."""

from __future__ import annotations

import textwrap
from typing import Any

import pytest

from althing.ledger.vm.errors import BUILTIN_ERRORS

from .conftest import contract, method

BODIES = [
    "return str(1 + 2 * 3 - 4 // 3 % 2 ** 3)",
    "return str(-2 ** 2) + str((-7) // 2) + str(-7 % 3) + str(7 % -3) + str(2 ** 0)",
    "return str(1 << 70) + str(-9 >> 1) + str(~5 & 12 | 3 ^ 1)",
    "return str(1 < 2 < 3) + str(1 < 3 < 2) + str(3 > 2 >= 2 != 1)",
    "return str(not 0) + str(0 or 'a') + str('' and 1) + str([] or {} or (1,))",
    "return str(True + True) + str(True == 1) + str({True: 'a', 1: 'b'}) + str(max(True, 0))",
    "return str([1, 2, 3][-1]) + str('abc'[1]) + str((1, 2)[0]) + 'abc'[1:] + str([1, 2, 3][:-1]) + str('abc'[-2:10])",
    "x = [1, 2]\ny = x\ny.append(3)\nx += [4]\nreturn str(x) + str(y)",
    "x = (1, 2)\ny = x\nx += (3,)\nreturn str(x) + str(y)",
    "a, (b, c) = 1, (2, 3)\na, b = b, a\nreturn str(a) + str(b) + str(c)",
    "d = {'b': 1, 'a': 2}\nd['c'] = 3\ndel d['b']\nd['b'] = 4\nreturn str(d) + str(list(d.items())) + str(len(d))",
    "d = {1: 'x', (1, 2): 'y', b'z': 'w'}\nreturn str(d[1]) + d[(1, 2)] + d[b'z'] + str((1, 2) in d) + str(2 not in d)",
    "t = 0\nfor i in range(10):\n    if i == 3:\n        continue\n    if i == 7:\n        break\n    t += i\nreturn str(t)",
    "t = ''\nfor i in range(5, -5, -2):\n    t += f'{i},'\nreturn t",
    "t = 0\nx = [1, 2, 3]\nfor i in x:\n    if len(x) < 10:\n        x.append(i)\n    t += i\nreturn str(t) + str(x)",
    "n = 0\nwhile True:\n    n += 1\n    if n > 5:\n        break\nreturn str(n)",
    "return str([i * j for i in range(4) if i % 2 for j in range(i)]) + str({k: v for k, v in [('a', 1), ('b', 2)]})",
    "x = 5\ny = [x for x in range(3)]\nreturn str(x) + str(y)",
    "try:\n    return str(1 // 0)\nexcept ZeroDivisionError as e:\n    return 'caught'\nfinally:\n    pass",
    "r = ''\ntry:\n    try:\n        r += str([1][5])\n    except (KeyError, IndexError):\n        r += 'i'\n        raise\n    finally:\n        r += 'f'\nexcept Exception:\n    r += 'e'\nelse:\n    r += 'x'\nreturn r",
    "r = ''\ntry:\n    raise ValueError('v')\nexcept Exception as e:\n    r += f'{e}'\n    try:\n        raise\n    except ValueError:\n        r += 'again'\nreturn r",
    "r = []\nfor i in range(3):\n    try:\n        if i == 1:\n            continue\n        r.append(i)\n    finally:\n        r.append(-i)\nreturn str(r)",
    "return 'a,b,,c'.split(',')[2] + 'x'.join(['1', '2']) + ' a b '.strip() + 'aXb'.lower() + 'ab'.upper() + str('abcb'.find('b'))",
    "return str('a b  c'.split()) + 'banana'.replace('an', 'AN') + str('banana'.count('an')) + str('12'.isdigit())",
    "return str(b'ab' + b'c') + b'\\x01\\xff'.hex() + 'é'.encode().hex() + b'\\xc3\\xa9'.decode() + str(b'a\\'b\\n\\x00')",
    "return str('it\\'s') + str(['it\\'s', 'a\"b', 'a\\'b\"', '\\\\', '\\n', '\\x7f', 'é'])",
    "return str(sorted([3, 1, 2])) + str(sorted(['b', 'a'], reverse=True)) + str(list(reversed([1, 2]))) + str(sum([1, 2], 10))",
    "return str(min(3, 1, 2)) + str(max([1, 5, 3])) + str(any([0, 1])) + str(all([])) + str(abs(-3)) + str(divmod(-7, 2))",
    "return str(list(enumerate(['a', 'b'], 1))) + str(list(zip([1, 2, 3], 'ab'))) + str(tuple([1])) + str(())",
    "return str(int('-12')) + str(int(True)) + str(bool([])) + str(bool('x')) + str(list('ab')) + str(dict([(1, 2)]))",
    "x = [3, 1]\nx.insert(0, 9)\nx.extend((7, 7))\nx.remove(7)\nx.sort()\nx.reverse()\nreturn str(x) + str(x.index(3)) + str(x.count(7)) + str(x.pop()) + str(x.pop(0)) + str(x)",
    "d = {'a': 1}\nd.update({'b': 2})\nreturn str(d.get('z')) + str(d.get('z', 5)) + str(d.setdefault('a', 9)) + str(d.pop('b')) + str(d.pop('q', 0)) + str(d)",
    "x = [1, [2, 3]]\ny = x.copy()\ny[1].append(4)\ny[0] = 9\nreturn str(x) + str(x == [1, [2, 3, 4]]) + str([1, 2] < [1, 3]) + str((1, 'a') <= (1, 'a'))",
    "x = [0, 0]\ni = 0\nx[i], i = 5, 1\nreturn str(x) + str(i)",
    "x = {'a': [1]}\nx['a'][0] += 5\nx['b'] = x.get('b', 0) + 1\nreturn str(x)",
    "return f'{1 + 1}{\"q\"}{{}}{[1, \"a\"]}' 'tail' f'{None}'",
    "return str(1 if [] else 2) + str(None is None) + str([1] is not None) + str('a' in 'cat') + str(97 in b'a')",
    "return str('ab' * 3) + str([0] * 2) + str(-1 * 'x') + str((1,) + (2,))",
    "return '\\u00e9\\U0001F600\\x41\\t' + r'raw' + '''three''' 'lines'",
    "x = 1_000 + 0xFF + 0b11 + 0o17\nreturn str(x)",
    "def_ = 5\nreturn str(def_)",
    "t = 0\nfor k in {'a': 1, 'b': 2}:\n    t += len(k)\nfor c in 'xyz':\n    t += 1\nfor b in b'ab':\n    t += b\nreturn str(t)",
    "return str(1 == '1') + str(None == 0) + str([1] == (1,)) + str({'a': 1} == {'a': 1}) + str(b'a' == 'a')",
    "assert 1 == 1, 'never'\nreturn str(0 ** 0) + str((-1) ** 1000001) + str(1 ** 10**9 if False else 0)",
]

FAILING = [
    "return str([1][1])",
    "return str({}['a'])",
    "return str(1 // 0)",
    "return str('a' + 1)",
    "return str([] < {})",
    "return str(int('x'))",
    "return str({[]: 1})",
    "raise ValueError('x')",
    "assert False, 'why'",
    "return str([1, 2].remove(3))",
    "return str(min([]))",
    "a, b = [1]\nreturn ''",
    "return str(len(5))",
    "return str(-'a')",
    "return str(None + 1)",
    "return '%s' % 1 if False else str({'a': 1}.pop('b'))",
    "return str(sum(['a']))",
    "return ''.join([1])",
    "return str('a'.startswith(1))",
    "return 'a'.split('')[0]",
    "x = 5\nx[0] = 1\nreturn ''",
    "x = (1, 2)\nreturn str(x['a'])",
    "return str(1 << -1)",
]


def in_python(body: str) -> Any:
    names: dict[str, Any] = {}
    exec("def run():\n" + textwrap.indent(body, "    "), names)
    return names["run"]()


@pytest.mark.parametrize("body", BODIES)
def test_bodies_mean_what_they_mean_in_python(body: str) -> None:
    assert contract(method(body)).call("run") == in_python(body)


@pytest.mark.parametrize("body", FAILING)
def test_errors_are_those_of_python(body: str) -> None:
    outcome = contract(method(body)).outcome("run")
    assert outcome.error in BUILTIN_ERRORS
    with pytest.raises(Exception) as raised:
        in_python(body)
    assert outcome.error == raised.type.__name__
