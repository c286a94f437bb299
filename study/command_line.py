"""The command line: `hifuflow run`, `hifuflow validate`, ..., each a module of `study/commands`."""
# PYTHON_ARGCOMPLETE_OK

from __future__ import annotations

import argparse
import os
import signal
import sys

from hifuflow.errors import HifuflowError

from .commands import campaign, document, inspect, new, reduce, run, summary, validate
from .commands.messages import BAD_INPUT, print_errors

COMMANDS = (new, validate, run, summary, campaign, inspect, reduce, document)
CLOSED_PIPE = 128 + signal.SIGPIPE  # status of a process that this signal ends
INTERRUPTED = 128 + signal.SIGINT
DESCRIPTION = """\
Focused-ultrasound treatments in simulation, from segmented anatomy to closed-loop control.

  hifuflow new anna.seg.nrrd      a patient file to start from: anna.yaml
  hifuflow validate anna.yaml     is it complete, and can it be treated?
  hifuflow run anna.yaml          plan, simulate and report; results are under ./results"""
COMPLETION = """\
hifuflow COMMAND --help tells more, with examples. Completion with the Tab key, in bash and zsh:
  eval "$(register-python-argcomplete hifuflow)\""""


class _Version(argparse.Action):
    """Print package and version; they are looked up only when asked for."""

    def __call__(self, parser, *_):
        from hifuflow.provenance import created_by

        print(created_by())
        parser.exit()


def command_line() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    as_written = argparse.RawDescriptionHelpFormatter
    whole = argparse.ArgumentParser(prog="hifuflow", description=DESCRIPTION, epilog=COMPLETION,
                                    formatter_class=as_written)
    whole.add_argument("--version", action=_Version, nargs=0, help="print the version")
    commands = whole.add_subparsers(required=True, metavar="COMMAND")
    for module in COMMANDS:
        text = module.__doc__ or ""
        command = commands.add_parser(module.__name__.rpartition(".")[2], description=text,
                                      help=text.partition("\n")[0], formatter_class=as_written)
        module.arguments(command)
        command.set_defaults(main=module.main, snakemake=[])
    return whole


def main(argv=None) -> int:
    """Entry point of the command line; returns the exit status."""
    words, further = run.split(sys.argv[1:] if argv is None else argv)
    parser = command_line()
    if "_ARGCOMPLETE" in os.environ:  # the shell asks how to go on
        import argcomplete

        argcomplete.autocomplete(parser)
    arguments = parser.parse_args(words)
    arguments.snakemake = further
    try:
        return _checked(arguments)
    except BrokenPipeError:  # whoever reads has seen enough, as `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED_PIPE
    except KeyboardInterrupt:
        return INTERRUPTED


def _checked(arguments) -> int:
    """Do a command; its errors end in their one paragraph."""
    try:
        status = arguments.main(arguments)
        sys.stdout.flush()
    except HifuflowError as error:
        print_errors(error)
        return BAD_INPUT
    return status
