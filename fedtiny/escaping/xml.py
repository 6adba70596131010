"""Free text in XML: character data and attributes."""

from __future__ import annotations

from xml.sax.saxutils import escape


def xml_text(text: str) -> str:
    """Text of an element or of an attribute in either quotes.

    Control characters, which XML has no way to write, are named.

    >>> xml_text('a "b" <c> & d')
    'a &quot;b&quot; &lt;c&gt; &amp; d'
    """
    named = "".join(c if _is_xml(ord(c)) else f"<U+{ord(c):04X}>" for c in text)
    return escape(named, {'"': "&quot;", "'": "&apos;"})


def _is_xml(code: int) -> bool:
    """Whether XML 1.0 can hold the character and no parser changes it."""
    return 0x20 <= code < 0x7F or 0xA0 <= code < 0xD800 or 0xE000 <= code < 0xFFFE or code > 0xFFFF
