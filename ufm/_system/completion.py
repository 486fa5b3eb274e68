"""Completion in a shell, read from the parser of a command: `eval "$(ufm --completion bash)"`.

Commands, options, and the words that an option takes; files for everything else.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

SHELLS = ("bash", "zsh", "fish")

Words = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class _Command:
    """A command: its options, with the words that each takes, and words at any place."""

    name: str
    options: dict[str, tuple[str, ...]]
    words: tuple[str, ...]


class _Print(argparse.Action):
    """The option that prints the script and ends."""

    def __init__(self, *args, prog: str = "", words: Callable[[], Words] = dict, **kwargs):
        super().__init__(*args, **kwargs)
        self.prog, self.words = prog, words

    def __call__(self, parser, namespace, values, option_string=None):
        print(script(parser, prog=self.prog, shell=str(values), words=self.words()))
        parser.exit()


def add_completion(
    parser: argparse.ArgumentParser, prog: str, words: Callable[[], Words] = dict
) -> None:
    """Let a command be asked for its completion.

    `prog`: the command that is completed. `words`: option → what it takes, beyond its choices.
    """
    parser.add_argument(
        "--completion",
        action=_Print,
        choices=SHELLS,
        prog=prog,
        words=words,
        help=f'print what a shell completes {prog} with: eval "$({prog} --completion bash)"',
    )


def script(parser: argparse.ArgumentParser, *, prog: str, shell: str, words: Words) -> str:
    """What the shell has to run once to complete the command `prog`."""
    commands = list(_commands(parser, words))
    if shell == "fish":
        return "\n".join(_fish(prog, commands))
    lines = list(_bash(prog, commands))
    start = ["autoload -U +X compinit && compinit", "autoload -U +X bashcompinit && bashcompinit"]
    return "\n".join([*(start if shell == "zsh" else ()), *lines])


def _commands(parser: argparse.ArgumentParser, words: Words) -> Iterator[_Command]:
    """The top, whose name is empty, and what is below it."""
    inner = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    names = tuple(name for action in inner for name in action.choices)
    yield _Command("", _options(parser, words), names)
    for action in inner:
        for name, below in action.choices.items():
            yield _Command(name, _options(below, words), ())


def _options(parser: argparse.ArgumentParser, words: Words) -> dict[str, tuple[str, ...]]:
    found = {}
    for action in parser._actions:
        for option in action.option_strings:
            choices = () if action.choices is None else tuple(map(str, action.choices))
            found[option] = (*choices, *words.get(option, ()))
    return found


def _bash(prog: str, commands: list[_Command]) -> Iterator[str]:
    function = f"_{prog.replace('-', '_')}_complete"
    yield f"{function}() {{"
    yield '  local cur="${COMP_WORDS[COMP_CWORD]}" prev="${COMP_WORDS[COMP_CWORD-1]}" words=""'
    yield '  local command="${COMP_WORDS[1]}"'
    yield '  [ "$COMP_CWORD" -gt 1 ] || command=""'
    yield '  case "$command" in'
    for command in (*commands[1:], commands[0]):
        pattern = command.name or "*"
        yield f"    {pattern})"
        yield '      case "$prev" in'
        for option, choices in command.options.items():
            if choices:
                yield f"        {option}) words={shlex.quote(' '.join(choices))} ;;"
        every = " ".join((*command.words, *command.options))
        yield f"        *) words={shlex.quote(every)} ;;"
        yield "      esac ;;"
    yield "  esac"
    yield '  COMPREPLY=($(compgen -W "$words" -- "$cur"))'
    # a value that is no word of ours is a file
    yield '  [ "${#COMPREPLY[@]}" -gt 0 ] || COMPREPLY=($(compgen -f -- "$cur"))'
    yield "}"
    yield f"complete -o filenames -F {function} {prog}"


def _fish(prog: str, commands: list[_Command]) -> Iterator[str]:
    names = " ".join(command.name for command in commands[1:])
    for command in commands:
        there = (
            f"__fish_seen_subcommand_from {command.name}"
            if command.name
            else f"not __fish_seen_subcommand_from {names}"
        )
        if command.words:
            yield f"complete -c {prog} -n {shlex.quote(there)} -a {shlex.quote(names)}"
        for option, choices in command.options.items():
            kind = "-l" if option.startswith("--") else "-s"
            words = f" -x -a {shlex.quote(' '.join(choices))}" if choices else ""
            yield f"complete -c {prog} -n {shlex.quote(there)} {kind} {option.lstrip('-')}{words}"
