"""One module a command.

Its docstring is the help text, `arguments(parser)` says what it takes, `main(arguments)` does it
and returns the exit status. What a command needs is loaded there: help and completion come at once.
"""
