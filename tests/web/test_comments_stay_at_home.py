"""Comments on lines of their own are not sent, and nothing but comments is left out."""

from __future__ import annotations

import pytest

from web.assets import ROOT, Assets
from web.bare import bare

SOURCE = """\
/** What it is.
 *  `code` in it. */
const a = 1; // stays
  // goes
/** @type {any} */ (a).b = "/* stays */";
const c = /** @type {any} */ (a);
/* goes */
const url = `http://x`;
  /**
   * goes
   */
f(`a
b`);
"""
BARE = """\


const a = 1; // stays

/** @type {any} */ (a).b = "/* stays */";
const c = /** @type {any} */ (a);

const url = `http://x`;



f(`a
b`);
"""


def test_lines_of_comments_are_left_out_and_all_keep_their_numbers() -> None:
    assert bare(SOURCE) == BARE


@pytest.mark.parametrize("text", ["f(`\n// text\n`);", "f(`a\n/* text */\n`)"])
def test_a_line_of_a_template_is_never_taken_for_a_comment(text: str) -> None:
    with pytest.raises(ValueError, match="line 2"):
        bare(text)


def test_every_file_keeps_its_lines_and_those_of_others_every_word() -> None:
    assets = Assets()
    for path in assets.paths():
        source = (ROOT / path).read_text()
        asset = assets.get(path)
        assert asset is not None
        if path.startswith("vendor/"):
            assert asset.text == source
            continue
        for before, after in zip(source.split("\n"), asset.text.split("\n"), strict=True):
            assert after in (before, ""), path
            if after != before:
                assert before.strip().startswith(("//", "/*", "*")) or before.endswith("*/"), path
