"""Tables in Markdown, LaTeX and HTML, and numbers as people read them."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from fedtiny.escaping.markdown import Markdown, markdown_text
from fedtiny.memory.ledger import format_bytes

NOT_RUN = "–"
"""Shown where a step did not run."""

_LATEX = str.maketrans(
    {
        **{sign: f"\\{sign}" for sign in "%_&#${}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "±": r"$\pm$",
        "×": r"$\times$",
        "–": "--",
    }
)


def _one_line(cell: str) -> str:
    return " ".join(cell.splitlines())


def _markdown(cell: str) -> str:
    return cell if isinstance(cell, Markdown) else markdown_text(cell)


def markdown_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A GitHub table: the first column is text, the others are numbers, right-aligned.

    Cells are text, and shown as they are written; a :class:`Markdown` is taken as it is.

    >>> print(markdown_table(["who", "right"], [["client 0", "91.8 %"]]))
    | who      |  right |
    |:---------|-------:|
    | client 0 | 91.8 % |
    >>> print(markdown_table(["a|b"], [["two\\nlines"]]))
    | a\\|b      |
    |:----------|
    | two lines |
    """
    cells = [[_markdown(cell) for cell in row] for row in (headers, *rows)]
    widths = [max(len(row[k]) for row in cells) for k in range(len(headers))]
    lines = [
        "| "
        + " | ".join(
            cell.ljust(width) if k == 0 else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        + " |"
        for row in cells
    ]
    rule = [
        ":" + "-" * (width + 1) if k == 0 else "-" * (width + 1) + ":"
        for k, width in enumerate(widths)
    ]
    return "\n".join([lines[0], "|" + "|".join(rule) + "|", *lines[1:]])


def latex_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A ``tabular`` for the booktabs package, aligned as :func:`markdown_table`.

    >>> print(latex_table(["method", "1 %"], [["fedtiny", "90.1 ± 0.4"]]))
    \\begin{tabular}{lr}
    \\toprule
    method & 1 \\% \\\\
    \\midrule
    fedtiny & 90.1 $\\pm$ 0.4 \\\\
    \\bottomrule
    \\end{tabular}
    """

    def line(cells: Sequence[str]) -> str:
        return " & ".join(_one_line(cell).translate(_LATEX) for cell in cells) + r" \\"

    head = [f"\\begin{{tabular}}{{l{'r' * (len(headers) - 1)}}}", r"\toprule", line(headers)]
    tail = [r"\bottomrule", r"\end{tabular}"]
    return "\n".join([*head, r"\midrule", *map(line, rows), *tail])


def html_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A plain HTML table.

    >>> html_table(["method"], [["a < b"]])
    '<table><tr><th>method</th></tr>\\n<tr><td>a &lt; b</td></tr></table>'
    """

    def line(cells: Sequence[str], tag: str) -> str:
        return f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>"

    return (
        f"<table>{chr(10).join([line(headers, 'th'), *(line(row, 'td') for row in rows)])}</table>"
    )


def against(bytes: int, reference: int) -> str:
    """How far a number of bytes lies from another one; how much nothing differs is no number.

    >>> against(1024, 3072), against(3072, 2048), against(1024, 1024)
    ('3.0× below 3.00 KiB', '1.5× above 2.00 KiB', '1.0× above 1.00 KiB')
    >>> against(0, 3072), against(0, 0)
    ('against 3.00 KiB', 'against 0 B')
    """
    if not bytes or not reference:
        return f"against {size(reference)}"
    if bytes < reference:
        return f"{reference / bytes:.1f}× below {size(reference)}"
    return f"{bytes / reference:.1f}× above {size(reference)}"


def times(factor: float | None) -> str:
    """A ratio.

    >>> times(15.42), times(None)
    ('15.4×', '–')
    """
    return NOT_RUN if factor is None else f"{factor:.1f}×"


def percent(fraction: float | None) -> str:
    """A fraction in [0, 1] as percent.

    >>> percent(0.9178), percent(None)
    ('91.8 %', '–')
    """
    return NOT_RUN if fraction is None else f"{100 * fraction:.1f} %"


def points(difference: float | None) -> str:
    """A difference of fractions in percentage points, with sign.

    >>> points(-0.0149), points(0.0), points(None)
    ('-1.5', '+0.0', '–')
    """
    return NOT_RUN if difference is None else f"{100 * difference:+.1f}"


def subtract(a: float | None, b: float | None) -> float | None:
    """a − b, None if one of them is."""
    return None if a is None or b is None else a - b


def size(number: float | None) -> str:
    """Bytes in binary units.

    >>> size(2056604), size(None)
    ('1.96 MiB', '–')
    """
    return NOT_RUN if number is None else format_bytes(round(number))
