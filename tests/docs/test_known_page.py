"""docs/known.md names every law, and no law that is not there."""

import re
from pathlib import Path

from tiltz import laws

PAGE = Path(__file__).parents[2] / "docs" / "known.md"
NO_LAWS = {"Law", "LawStack", "NormalStack", "Stack", "TwoPointStack", "check_law", "rare_mode"}


def test_every_law_has_its_line():
    section = PAGE.read_text(encoding="utf-8").partition("## Laws of the reward")[2].partition("\n## ")[0]
    named = set(re.findall(r"`(\w+)\(", section))
    assert named == set(laws.__all__) - NO_LAWS
