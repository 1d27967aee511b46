"""The command line: `lectern COMMAND --help` tells what there is."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from lectern import VERSION, lifeline
from lectern import settings as settings_module
from lectern.child import EXIT_UNUSABLE
from lectern.embedded import EmbeddedError
from lectern.settings import SettingError, Settings

COMMANDS = {
    "up": "start everything on this machine: database, Redis, pages and media",
    "demo": "teach a demo class on a running server: a moving picture and a melody",
    "web": "run one web process: pages, API, signaling",
    "sfu": "run one media node",
    "migrate": "bring the database's schema up to date",
    "node": "list media nodes, or send everybody off one and let it stop",
    "backup": "write the database to a file, while everything runs",
    "restore": "fill an empty database with a backup",
    "user": "list accounts, or reset, disable, delete or promote one",
}
BENCH_HELP = "measure Lectern on this machine; `lectern bench --help` names the benchmarks"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["bench"]:
        # Its options are not settings: each benchmark has its own.
        from benchmarks import command

        return command.main(given[1:])
    options = _parser().parse_args(given)
    try:
        return _run(options)
    except (SettingError, EmbeddedError) as error:
        print(f"lectern: {error}", file=sys.stderr)
        return EXIT_UNUSABLE
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lectern",
        description="Live classes: a teacher shares screen and sound, students watch at once.",
    )
    parser.add_argument("--version", action="version", version=f"lectern {VERSION}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in COMMANDS.items():
        command = commands.add_parser(
            name,
            help=text,
            description=text[0].upper() + text[1:] + ".",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        settings_module.add_options(command, name)
        if name == "user":
            from lectern import user

            user.add_arguments(command)
        if name == "node":
            from lectern import node

            node.add_arguments(command)
        if name in ("backup", "restore"):
            from lectern import backup

            backup.add_arguments(command, name)
    commands.add_parser("bench", help=BENCH_HELP, add_help=False)
    return parser


def _run(options: argparse.Namespace) -> int:
    settings = settings_module.load(options.command, options, os.environ)
    if lifeline.SUPERVISOR not in os.environ:  # its supervisor has said it
        for sentence in settings_module.unknown_variables(os.environ):
            print(f"lectern: {sentence}", file=sys.stderr)
    if options.command == "user":
        from lectern import user

        return user.main(settings, options.action, options.email)
    if options.command == "node":
        from lectern import node

        return node.main(settings, options.action, options.node)
    if options.command in ("backup", "restore"):
        from lectern import backup

        work = backup.backup if options.command == "backup" else backup.restore
        return work(settings, options.file)
    return _entry(options.command)(settings)


def _entry(command: str) -> Callable[[Settings], int]:
    # Imported late: the supervisor needs none of what a media node loads, and --help stays quick.
    if command == "up":
        from lectern import up

        return up.main
    if command == "web":
        from lectern import web

        return web.main
    if command == "sfu":
        from lectern import sfu

        return sfu.main
    if command == "demo":
        from lectern import demo

        return demo.main
    from lectern import migrate

    return migrate.main
