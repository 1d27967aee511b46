"""What of a page lies where nobody sees it."""

from __future__ import annotations

from playwright.sync_api import Page

# Elements may be wider than their box where that scrolls or ends in an ellipsis on purpose; nothing
# may reach beyond the page, and no text of a button or a heading may be cut.
SPILLED = """() => {
  // An enlarged picture is wider than its stage, which cuts it.
  const APART = "svg, .unseen, pre, .skip, video, .stage__view";
  const found = [];
  const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  if (wide > 0) found.push(`the page scrolls sideways by ${wide}`);
  for (const element of document.querySelectorAll("body *")) {
    if (element.closest(APART) || !element.checkVisibility()) continue;
    const box = element.getBoundingClientRect();
    if (box.width <= 1 || box.height <= 1) continue;
    const name = `${element.tagName}.${element.className}`;
    if (box.right > innerWidth + 1 || box.left < -1) found.push(`${name} leaves the page`);
    if (element.matches("button, .button, h1, h2, h3, .chip, th, td")) {
      if (element.scrollWidth > element.clientWidth + 2 && element.clientWidth > 0) {
        found.push(`${name} is cut: ${element.textContent.slice(0, 40)}`);
      }
    }
  }
  return found;
}"""


def spilled(page: Page) -> list[str]:
    """Return what spills over the page or out of its element, empty where all is in its place."""
    found: list[str] = page.evaluate(SPILLED)
    return found
