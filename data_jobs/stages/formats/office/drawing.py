"""Read the text of charts and diagrams, which are separate parts of the document.

text_of_drawing(package, relationships, "rId7")      # "Sales by region\nNorth: 120\nSouth: 90"
"""

from collections.abc import Iterator, Mapping
from xml.etree.ElementTree import Element

from data_jobs.stages.formats.office.package import Package
from data_jobs.stages.formats.office.relationships import Relationship
from data_jobs.stages.formats.office.xml_tree import read_tree, texts

#: Maximum number of points of one series of a chart that are read.
MAX_POINTS = 1000


def text_of_drawing(package: Package, relationships: Mapping[str, Relationship], relationship_id: str) -> str:
    """Return the text of a chart or a diagram; "" if there is none.

    Args:
        package: the document.
        relationships: the relationships of the part that shows the drawing.
        relationship_id: id of the relationship to the drawing.
    """
    target = relationships.get(relationship_id)
    data = package.read_if_whole(target.part) if target else b""
    if not data:
        return ""
    root = read_tree(data)
    if root.tag == "c:chartSpace":
        return "\n".join(line for line in _lines_of_chart(root) if line.strip())
    return "\n".join(line for line in ("".join(texts(p, "a:t")) for p in root.iter("a:p")) if line.strip())


def _lines_of_chart(root: Element) -> Iterator[str]:
    """Yield the titles of a chart, and for each series its name and its points."""
    for title in root.iter("c:title"):
        yield "".join(texts(title, "a:t"))
    for series in root.iter("c:ser"):
        name = " ".join(_points(series.find("c:tx")))
        categories = [*_points(series.find("c:cat")), *_points(series.find("c:xVal"))]
        values = [*_points(series.find("c:val")), *_points(series.find("c:yVal"))]
        if len(categories) == len(values):
            points = [f"{category}: {value}" for category, value in zip(categories, values, strict=True)]
        else:
            points = [*categories, *values]
        yield f"{name}: {', '.join(points)}" if name and points else name or ", ".join(points)


def _points(parent: Element | None) -> Iterator[str]:
    """Yield the values of the points of a chart that the document stores, at most ``MAX_POINTS``."""
    if parent is None:
        return
    for count, point in enumerate(parent.iter("c:v")):
        if count == MAX_POINTS:
            return
        yield point.text or ""
