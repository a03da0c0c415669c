"""SVG elements as escaped markup, drawn without script or inline style."""

from collections.abc import Iterable

from markupsafe import Markup

Point = tuple[float, float]


def element(tag: str, *children: Markup | str, **attributes: str | float) -> Markup:
    """An SVG element with escaped children and attributes; numbers are rounded to a tenth.

    `class_` becomes `class`, and `aria_label` becomes `aria-label`.
    """
    opening = Markup("").join(
        Markup(' {}="{}"').format(name.rstrip("_").replace("_", "-"), _text(value))
        for name, value in attributes.items()
    )
    if not children:
        return Markup("<{}{}/>").format(tag, opening)
    return Markup("<{}{}>{}</{}>").format(tag, opening, Markup("").join(children), tag)


def picture(
    width: float, height: float, text: str, children: Iterable[Markup], **attributes: str
) -> Markup:
    """The root element; a screen reader reads `text` in place of the picture."""
    box = f"0 0 {width:g} {height:g}"
    return element("svg", *children, viewBox=box, role="img", aria_label=text, **attributes)


def label(x: float, y: float, text: str, anchor: str = "start") -> Markup:
    """A text; `anchor` is `start`, `middle` or `end`, the part of the text at `x`."""
    return element("text", text, class_=anchor, x=x, y=y)


def line(points: Iterable[Point], class_: str) -> Markup:
    return element("polyline", class_=class_, points=" ".join(map(_point, points)))


def area(points: Iterable[Point], class_: str) -> Markup:
    return element("polygon", class_=class_, points=" ".join(map(_point, points)))


def horizontal(y: float, start: float, end: float, class_: str) -> Markup:
    return element("path", class_=class_, d=f"M{_text(start)} {_text(y)}H{_text(end)}")


def vertical(x: float, start: float, end: float) -> Markup:
    return element("path", d=f"M{_text(x)} {_text(start)}V{_text(end)}")


def broken_line(pieces: Iterable[Iterable[Point]], class_: str) -> Markup:
    """One path of several pieces, with a gap between them."""
    path = "".join(
        f"{'L' if number else 'M'}{_text(x)} {_text(y)}"
        for piece in pieces
        for number, (x, y) in enumerate(piece)
    )
    return element("path", class_=class_, d=path)


def _point(point: Point) -> str:
    return ",".join(map(_text, point))


def _text(value: str | float) -> str:
    return value if isinstance(value, str) else f"{round(value, 1):g}"
