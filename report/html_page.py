"""Pages from the templates of `templates/`."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from hifuflow.job import atomic


def write_page(path, template: str, /, **content) -> None:
    """Write a page: a template of that name, filled with all that it names and escaped."""
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent / "templates"),
                              autoescape=True, undefined=StrictUndefined, trim_blocks=True,
                              lstrip_blocks=True)
    text = environment.get_template(template).render(**content)
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
