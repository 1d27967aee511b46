"""The page of a class link names every module it needs, so that none waits for another."""

from __future__ import annotations

import re
from pathlib import Path

from web.pages import ROOT

# Those that are imported later, by `import()`, are not waited for.
IMPORT = re.compile(r'^\s*(?:import|export)\b[^"\n;(]*?(?:from\s*)?"(\.[^"]+)"', re.MULTILINE)


def modules_of(file: Path, found: set[Path]) -> set[Path]:
    """Add all modules that a module imports, and what these import."""
    for name in IMPORT.findall(file.read_text()):
        module = (file.parent / name).resolve()
        if module not in found:
            found.add(module)
            modules_of(module, found)
    return found


def test_every_module_of_the_watching_page_is_fetched_with_it() -> None:
    needed = {
        f"/static/{module.relative_to(ROOT)}"
        for module in modules_of(ROOT / "app" / "watch.js", set())
    }
    named = re.findall(
        r'<link rel="modulepreload" href="([^"]+)">', (ROOT / "app" / "watch.html").read_text()
    )
    assert len(needed) > 5
    assert sorted(named) == sorted(needed)
