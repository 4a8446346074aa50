"""QR codes as inline SVG."""

import segno
from django.utils.safestring import SafeString, mark_safe


def qr_svg(text: str, *, title: str) -> SafeString:
    """A QR code that phones can read from a screen: dark on light, whatever the theme."""
    code = segno.make_qr(text, error="m")
    return mark_safe(code.svg_inline(scale=5, border=4, dark="#000", light="#fff", title=title))
