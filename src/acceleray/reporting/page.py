"""Facts to one HTML file: no external request, readable without JavaScript and on paper."""

from __future__ import annotations

from functools import cache
from typing import Any

from acceleray.reporting.view import build_view

__all__ = ["environment", "render_page"]


def render_page(document: dict[str, Any]) -> str:
    """Render the morning page from the content of ``report.json``.

    Parameters
    ----------
    document : dict
        What `acceleray.reporting.facts.to_json` returned.

    Returns
    -------
    str
        A complete HTML document.
    """
    html: str = environment().get_template("page.html.j2").render(build_view(document))
    return html


@cache
def environment() -> Any:
    """Return the environment of all page templates: escaping, and strict about what is undefined."""
    import jinja2

    return jinja2.Environment(
        loader=jinja2.PackageLoader("acceleray.reporting", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
