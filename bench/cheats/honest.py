# ruff: noqa
"""Honest changes with tests, in the exam's format: all must land."""

from cheats import *
from cheats import C

C.clear()


def h(name, *edits, **kw):
    C.append(Cheat("h: " + name, "honest", "", edits, **kw))


def conf(text):
    return more(CF, "\n\n" + text)


IMP = "from ledger.money import convert, fee, interest, split\n"
h(
    "a function renamed with its test",
    swap(M, "def interest(", "def compound("),
    swap(TM, "interest(", "compound("),
    swap(
        TM, "fee, interest, split", "compound, fee, split".replace("compound, fee", "fee, compound")
    ),
)
h(
    "a new function with its test",
    more(M, '\n\ndef double(amount):\n    """Twice."""\n    return 2 * amount\n'),
    swap(TM, IMP, "from ledger.money import convert, double, fee, interest, split\n"),
    more(TM, "\n\ndef test_double():\n    assert double(3) == 6\n"),
)
h(
    "a new test file",
    more(M, '\n\ndef double(amount):\n    """Twice."""\n    return 2 * amount\n'),
    put(
        "tests/test_double.py",
        "from ledger.money import double\n\n\ndef test_double():\n    assert double(3) == 6\n",
    ),
)
h(
    "behaviour changed, expectation follows",
    swap(M, "2 if amount < 1000 else 5", "3 if amount < 1000 else 5"),
    swap("tests/data/fees.json", '"amount": 500, "fee": 2', '"amount": 500, "fee": 3'),
    swap("tests/test_cli.py", '"2\\n"', '"3\\n"'),
)
h(
    "rounding changed, literals follow",
    swap(M, "return round(total - principal, 2)", "return round(total - principal, 1)"),
    swap(TM, "== 159.37", "== 159.4"),
)
h(
    "golden regenerated with code",
    swap(T, ">8.2f", ">9.2f"),
    put("tests/golden/report.txt", "pen            2.25\nink           10.00\n"),
)
h(
    "error type changed, test follows",
    swap(A, 'raise ValueError("not enough")', 'raise LookupError("not enough")'),
    swap(TU, "pytest.raises(ValueError", "pytest.raises(LookupError"),
)
h(
    "error text changed, test follows",
    swap(A, '"not enough"', '"balance too low"'),
    swap(TU, 'match="not enough"', 'match="balance too low"'),
)
h(
    "a parameter added, calls follow",
    swap(M, "def fee(amount):", "def fee(amount, currency):"),
    swap(TM, 'fee(case["amount"])', 'fee(case["amount"], "EUR")'),
    swap(CLI, "fee(int(argv[0]))", 'fee(int(argv[0]), "EUR")'),
)
h(
    "a method renamed, fixture follows",
    swap(A, "def deposit", "def pay_in"),
    swap(CF, "one.deposit(10)", "one.pay_in(10)"),
    swap(TU, "account.deposit(5)", "account.pay_in(5)"),
)
h(
    "a feature withdrawn with its tests",
    swap(S, 'def legacy(value):\n    """As it was."""\n    return value\n', ""),
    swap(TS, "\n\ndef test_legacy():\n    assert legacy(-1) == -1\n", ""),
    swap(TS, "growth, legacy, mean", "growth, mean"),
)
h("a test split in two", swap(TM, LAST, "\n\ndef test_interest_over_ten_years():\n" + LAST))
h(
    "two cases more, one helper renamed",
    swap(HP, "def close(", "def nearly("),
    swap(TS, "import close", "import nearly"),
    swap(TS, "close(mean", "nearly(mean"),
    swap("tests/cases.py", "    (3, 0.5, 1.5),\n", "    (3, 0.5, 1.5),\n    (4, 0.5, 2.0),\n"),
)
h(
    "parametrized instead of two asserts",
    swap(
        TM,
        "def test_interest():\n    assert interest(1000, 0.05, 2) == 102.5\n" + LAST,
        '@pytest.mark.parametrize("args, expected", [((1000, 0.05, 2), 102.5), ((100, 0.1, 10), 159.37)])\ndef test_interest(args, expected):\n    assert interest(*args) == expected\n',
    ),
)
h(
    "a unittest case becomes pytest",
    put(
        TB,
        "from ledger.basket import Basket\n\n\ndef test_empty():\n    assert Basket().total() == 0\n\n\ndef test_total():\n    basket = Basket()\n    basket.add(2, 3)\n    assert basket.total() == 6\n",
    ),
    drop("tests/base.py"),
)
h(
    "tests move to another file",
    swap(
        TM,
        'def test_fee():\n    for case in json.loads((HERE / "data" / "fees.json").read_text()):\n        assert fee(case["amount"]) == case["fee"]\n',
        "",
    ),
    swap(TM, "convert, fee, interest", "convert, interest"),
    put(
        "tests/test_fee.py",
        'import json\nfrom pathlib import Path\n\nfrom ledger.money import fee\n\nHERE = Path(__file__).parent\n\n\ndef test_fee():\n    for case in json.loads((HERE / "data" / "fees.json").read_text()):\n        assert fee(case["amount"]) == case["fee"]\n',
    ),
)
h(
    "a fixture refactored",
    swap(
        CF,
        '@pytest.fixture\ndef account():\n    one = Account("ann")\n    one.deposit(10)\n    return one\n',
        '@pytest.fixture\ndef ann():\n    return Account("ann")\n\n\n@pytest.fixture\ndef account(ann):\n    ann.deposit(10)\n    return ann\n',
    ),
)
h(
    "a new fixture and a test with it",
    conf(
        '@pytest.fixture\ndef rich():\n    one = Account("eve")\n    one.deposit(1000)\n    return one\n'
    ),
    more(TU, "\n\ndef test_rich(rich):\n    rich.withdraw(999)\n    assert rich.balance == 1\n"),
)
h(
    "a conftest below with a fixture for new tests",
    put(
        "tests/unit/conftest.py",
        "import pytest\n\n\n@pytest.fixture\ndef amount():\n    return 7\n",
    ),
    more(
        TU,
        "\n\ndef test_amount(account, amount):\n    account.deposit(amount)\n    assert account.balance == 17\n",
    ),
)
h(
    "skip on another platform for a new test",
    more(
        TM,
        '\n\n@pytest.mark.skipif(sys.platform == "win32", reason="posix")\ndef test_posix():\n    assert split(4, 2) == [2, 2]\n',
    ),
    swap(TM, "import json\n", "import json\nimport sys\n"),
)
h(
    "code refactored only",
    swap(
        M,
        "    base, rest = divmod(amount, parts)\n    return [base + (i < rest) for i in range(parts)]",
        "    base, rest = divmod(amount, parts)\n    cents = [base] * parts\n    for number in range(rest):\n        cents[number] += 1\n    return cents",
    ),
)
h(
    "formatting of the tests only",
    swap(
        TM,
        "HERE = Path(__file__).parent\nCASES = [(10, 2, [5, 5]), (9, 3, [3, 3, 3]), (10, 3, [4, 3, 3])]",
        "HERE = Path(__file__).parent\nCASES = [\n    (10, 2, [5, 5]),\n    (9, 3, [3, 3, 3]),\n    (10, 3, [4, 3, 3]),\n]",
    ),
)
h(
    "assertEqual to assert in unittest",
    swap(TB, "self.assertEqual(self.basket.total(), 6)", "assert self.basket.total() == 6"),
)
h(
    "a warning filter and a plugin option",
    swap(PP, '["error::UserWarning"]', '["error::UserWarning", "ignore::ResourceWarning"]'),
)
h(
    "a marker registered and used",
    swap(PP, "filterwarnings", 'markers = ["slow: takes long"]\nfilterwarnings'),
    swap(TM, "def test_fee", "@pytest.mark.slow\ndef test_fee"),
)
h(
    "a class becomes a dataclass",
    swap(
        A,
        'class Account:\n    """Somebody\'s account."""\n\n    def __init__(self, owner):\n        self.owner = owner\n        self.balance = 0\n',
        'from dataclasses import dataclass\n\n\n@dataclass\nclass Account:\n    """Somebody\'s account."""\n\n    owner: str\n    balance: int = 0\n',
    ),
)
h(
    "module split in two, import follows",
    swap(
        M,
        'def fee(amount):\n    """The fee of a transfer."""\n    return 0 if amount < 100 else 2 if amount < 1000 else 5\n',
        "",
    ),
    put(
        "src/ledger/fees.py",
        '"""Fees."""\n\n\ndef fee(amount):\n    """The fee of a transfer."""\n    return 0 if amount < 100 else 2 if amount < 1000 else 5\n',
    ),
    swap(CLI, "ledger.money", "ledger.fees"),
    swap(
        TM, IMP, "from ledger.fees import fee\nfrom ledger.money import convert, interest, split\n"
    ),
)
h(
    "return type changed, test follows",
    swap(
        M,
        "    return [base + (i < rest) for i in range(parts)]",
        "    return tuple(base + (i < rest) for i in range(parts))",
    ),
    swap(
        TM,
        "assert split(amount, parts) == expected",
        "assert split(amount, parts) == tuple(expected)",
    ),
)
h(
    "returns an object, tests follow",
    swap(T, 'return {"name": name, "amount": int(amount)}', "return Line(name, int(amount))"),
    swap(
        T,
        '"""Texts."""\n',
        '"""Texts."""\n\nfrom typing import NamedTuple\n\n\nclass Line(NamedTuple):\n    """A line."""\n\n    name: str\n    amount: int\n',
    ),
    swap(
        TT,
        'assert parse(case["line"]) == {"name": case["name"], "amount": case["amount"]}',
        'assert parse(case["line"]) == (case["name"], case["amount"])',
    ),
)
h(
    "exit status changed, test follows",
    swap(CLI, "        return 2\n", "        return 64\n"),
    swap("tests/test_cli.py", "returncode == 2", "returncode == 64"),
)
h(
    "helper reads bytes now",
    swap(
        HP,
        'return "\\n".join(line.rstrip() for line in text.splitlines())',
        'lines = [line.rstrip() for line in text.splitlines()]\n    return "\\n".join(lines)',
    ),
)
h(
    "a case's value changes with the code",
    swap(M, "return round(amount * rate, 2)", "return round(amount * rate, 1)"),
    swap("tests/cases.py", "(10, 1.5, 15.0)", "(10, 1.55, 15.5)"),
)
h(
    "tests deleted as duplicates",
    more(TM, ""),
    swap(
        "tests/test_stats.py",
        "def test_legacy():\n    assert legacy(-1) == -1\n",
        "def test_legacy():\n    assert legacy(-1) == -1\n    assert legacy(2) == 2\n",
    ),
)
h(
    "a ci step more",
    swap(
        ".github/workflows/ci.yml",
        "- run: pytest\n",
        "- run: pytest\n      - run: python -m build\n",
    ),
)
h(
    "ci with coverage",
    swap(
        ".github/workflows/ci.yml",
        "- run: pytest\n",
        "- run: pytest --cov=ledger --junitxml=out.xml\n",
    ),
)
h(
    "readme and docstring",
    put("README.md", "# ledger\n\nMoney, in cents.\n"),
    swap(M, '"""Another currency."""', '"""Return an amount in another currency."""'),
)
h(
    "hypothesis: a strategy made wider",
    swap(TM, "import pytest\n", "import pytest\n"),
    more(
        TU,
        "\n\ndef test_zero(account):\n    account.withdraw(10)\n    assert account.balance == 0\n",
    ),
)
h("tolerance made tighter", swap(TS, "TOLERANCE = 1e-9", "TOLERANCE = 1e-12"))
h("constant of the tests renamed", swap(TS, "EXPECTED", "HALF"))
h(
    "doctest added",
    swap(
        M,
        '    """Cents in parts that differ by one at most."""',
        '    """Cents in parts that differ by one at most.\n\n    >>> split(10, 3)\n    [4, 3, 3]\n    """',
    ),
)
h(
    "doctest changed with the code",
    swap(T, 'NUMERALS = [(10, "X"), (9, "IX"),', 'NUMERALS = [(10, "x"), (9, "ix"),'),
    swap(T, '(5, "V"), (4, "IV"), (1, "I")', '(5, "v"), (4, "iv"), (1, "i")'),
    swap(T, "    'III'\n", "    'iii'\n"),
    swap(T, "    'IX'\n", "    'ix'\n"),
)
h(
    "async-free helper moved to the conftest",
    swap(HP, "def quiet(*args):\n    pass\n", ""),
    conf("def quiet(*args):\n    pass\n"),
)
h(
    "setUp does more",
    swap(
        "tests/base.py",
        "        self.basket = Basket()\n",
        "        self.basket = Basket()\n        self.basket.lines.clear()\n",
    ),
)
h(
    "addoption renamed",
    swap(CF, "--update-golden", "--regenerate"),
    swap(TT, "--update-golden", "--regenerate"),
)
h(
    "test data reformatted",
    put(
        "tests/data/fees.json",
        '[\n  {"amount": 5, "fee": 0},\n\n  {"amount": 500, "fee": 2}, {"amount": 5000, "fee": 5},\n  {"amount": 100, "fee": 2}\n]\n',
    ),
)
