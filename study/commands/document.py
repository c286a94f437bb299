"""Print the page of all configuration keys: meaning, unit, default and what is allowed.

  hifuflow document
  hifuflow document --output config/README.md
"""

from __future__ import annotations


def arguments(parser) -> None:
    """Declare what the command takes."""
    parser.add_argument("--output", metavar="FILE", help="write it there instead")


def main(arguments) -> int:
    """Print or write the page."""
    from hifuflow.job import atomic
    from hifuflow.study.key_table import configuration_page

    if not arguments.output:
        print(configuration_page(), end="")
        return 0
    with atomic(arguments.output) as temporary:
        temporary.write_text(configuration_page())
    print(f"wrote {arguments.output}")
    return 0
