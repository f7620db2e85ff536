"""The how-to of a sixth language, executed: Ruby as the page writes it, asked as the others are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_promises import PROMISES, Sample, World

from self_coding import languages
from self_coding.audit import other_languages
from tool_chains import works

HOW_TO = Path(__file__).parents[2] / "docs/how-to/add-a-language.md"
_TEST = """require_relative "test_helper"
require_relative "../lib/area"

class AreaTest < Minitest::Test
  def test_squares
    assert_equal 9, Area.size(3)
  end

  def test_none
    assert_equal 0, Area.size(0)
  end
end
"""
_OTHER = """require_relative "test_helper"

class OtherTest < Minitest::Test
  def test_other = assert(true)
end
"""


def blocks() -> list[str]:
    """Return the code of the page, in order: the module, the line, the project's reporter."""
    found = re.findall(r"(?ms)^   ```\w+\n(.*?)^   ```$", HOW_TO.read_text("utf-8"))
    return [re.sub(r"(?m)^   ", "", each) for each in found]


@pytest.fixture(scope="module")
def ruby(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A repository of Ruby, and the page's language known for as long as it is asked."""
    pytest.importorskip("tree_sitter_ruby")
    if not works("ruby"):
        pytest.skip("ruby does not run here")
    module, line, reporter = blocks()
    beside = tmp_path_factory.mktemp("beside")
    (beside / "ruby_language.py").write_text(module, "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(beside))
        exec(compile(line, str(HOW_TO), "exec"), {})
        sample = Sample(
            files={
                "lib/area.rb": "module Area\n  def self.size(r)\n    r * r\n  end\nend\n",
                "test/test_helper.rb": reporter,
                "test/area_test.rb": _TEST,
                "test/other_test.rb": _OTHER,
            },
            command="ruby -Ilib -e 'Dir[\"./test/*_test.rb\"].sort.each { |one| require one }'",
            program="ruby",
            bug=("lib/area.rb", "r * r", "r + r"),
            test=("test/area_test.rb", "test_squares"),
            bent=("9, Area", "6, Area"),
            skipped=("    assert_equal 9", "    skip\n    assert_equal 9"),
            cheat=("assert_equal 9, Area.size(3)", "assert true", "assert-weakened"),
            selected=False,
        )
        yield World(sample, tmp_path_factory.mktemp("ruby"))
    languages._MODULES.pop(".rb", None)
    languages._TOPS.pop("Gemfile", None)
    other_languages.TABLES.pop("Ruby", None)
    languages.languages.cache_clear()
    languages.suffixes.cache_clear()


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
async def test_a_promise_holds_in_the_language_of_the_page(ruby: World, promise) -> None:
    """What five languages promise holds in the sixth, as the page adds it."""
    await promise(ruby)
