"""Which functions and lines a task concerns, and that they fit the budget."""

from __future__ import annotations

import pytest

from self_coding.codebase_indexer.indexer import CodebaseIndexer
from self_coding.codebase_indexer.passages import cut
from self_coding.languages import language_of
from self_coding.retrieval import estimate_tokens

SHOP = {
    "shop.py": (
        "import os\n\n\nclass Shop:\n    @property\n    def name(self):\n        return os.name\n\n"
        "    def price(self, item):\n        return item.net * RATE\n\n\nRATE = 1.19\n"
    ),
    "shop.ts": (
        "import { a } from './a';\nexport const RATE = 1.19;\nexport class Shop {\n  name() {\n"
        "    return a;\n  }\n  price(item: Item) {\n    return item.net * R;\n  }\n}\n"
    ),
    "shop.go": (
        "package shop\n\nconst rate = 1.19\n\ntype Shop struct{}\n\nfunc (s Shop) Name() string {\n"
        '\treturn ""\n}\n\nfunc (s Shop) Price(item Item) float64 {\n\treturn item.net * rate\n}\n'
    ),
    "src/shop.rs": (
        "const RATE: f64 = 1.19;\npub struct Shop;\nimpl Shop {\n    fn name(&self) -> u8 {\n"
        "        1\n    }\n    fn price(&self, net: f64) -> f64 {\n        net * RATE\n    }\n}\n"
    ),
    "Shop.java": (
        "class Shop {\n  static final double R = 1.19;\n  String name() {\n    return null;\n  }\n"
        "  double price(Item item) {\n    return item.net * R;\n  }\n}\n"
    ),
}


@pytest.mark.parametrize("path", SHOP)
def test_a_file_is_cut_into_functions_and_what_is_between(path: str) -> None:
    """Each line that is not blank is in one passage; each function is one, by its dotted name."""
    if language_of(path).missing:
        pytest.skip(language_of(path).missing)
    text = SHOP[path]
    found = list(cut(path, text))
    lines = [at for one in found for at in range(one.start, one.end + 1)]
    assert lines == sorted(set(lines))
    assert {*lines} >= {at for at, line in enumerate(text.split("\n"), 1) if line.strip()}
    by_name = {one.name.lower(): one for one in found}
    assert by_name.keys() == {"", "shop.name", "shop.price"}
    assert "net" in by_name["shop.price"].text
    assert "net" not in by_name["shop.name"].text


@pytest.mark.parametrize("path", SHOP)
async def test_the_function_that_a_task_concerns_is_shown(path: str, tree, write) -> None:
    """In each language its lines and its code come with a reason, within the budget."""
    if language_of(path).missing:
        pytest.skip(language_of(path).missing)
    write(**{path: SHOP[path]})
    indexer = CodebaseIndexer(tree)
    found = await indexer.relevant_files("The price of an item ignores the rate", spans=True)
    [file] = found
    best = max(file.spans, key=lambda span: span.score)
    assert best.symbol.lower() == "shop.price"
    assert best.code == "\n".join(SHOP[path].split("\n")[best.start - 1 : best.end])
    assert best.reasons
    [few] = await indexer.relevant_files("price", spans=True, max_tokens=40)
    assert sum(estimate_tokens(span.code) for span in few.spans) <= 40
    assert [file.path for file in await indexer.relevant_files("price")] == [path]


async def test_a_stack_trace_leads_to_its_function(tree, write) -> None:
    """The function whose line a pasted trace names comes first, whatever the words say."""
    text = "".join(f"def step_{n}(value):\n    return value + {n}\n\n\n" for n in range(60))
    write(**{"pkg/steps.py": text, "pkg/__init__.py": ""})
    task = 'It crashes in step 7\n\n  File "/srv/pkg/steps.py", line 158, in step\nValueError'
    [file, *_] = await CodebaseIndexer(tree).relevant_files(task, spans=True, max_tokens=400)
    best = max(file.spans, key=lambda span: span.score)
    assert best.symbol == "step_39"
    assert "traceback" in best.reasons[0]


async def test_a_huge_file_has_no_spans(tree, write) -> None:
    """A file that is too long to be cut is named without its lines."""
    write(**{"a.py": "def ripen():\n    pass\n" + "#\n" * (1 << 19)})
    [file] = await CodebaseIndexer(tree).relevant_files("ripen", spans=True)
    assert file.spans == ()
