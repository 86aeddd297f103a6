"""What a browser would make of the pages that the program writes."""

from __future__ import annotations

from html.parser import HTMLParser


class Outline(HTMLParser):
    """What a browser would make of a page: headings, tables, identifiers, what it loads."""

    VOID = frozenset({"meta", "link", "br", "img", "input", "hr"})

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.unbalanced: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.append((tag, values))
        if values.get("id"):
            self.ids.append(str(values["id"]))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.unbalanced.append(tag)

    def count(self, tag: str) -> int:
        """How many elements of a kind there are."""
        return [name for name, _ in self.tags].count(tag)


def well_formed(page: str) -> Outline:
    """The outline of a page, in which all is closed, named once, and every table has a caption."""
    outline = Outline()
    outline.feed(page)
    assert not outline.unbalanced and not outline.open
    assert len(outline.ids) == len(set(outline.ids))
    assert outline.count("h1") == outline.count("main") == 1
    assert outline.count("caption") == outline.count("table")
    return outline
