"""`edgeclassifier kept`: the pictures that were kept because they are worth a look."""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from edgeclassifier.commands.common import Subparsers, add_config_options, read_config, report
from edgeclassifier.contract.kept import KINDS, LONGEST_LABEL, KeptPicture, Wanted, is_id, is_label
from edgeclassifier.errors import EXIT_FAILURE, RequestError, UsageError
from edgeclassifier.host.terminal import one_line

if TYPE_CHECKING:
    from edgeclassifier.keep.store import Store

_ROWS = 20
_LONGEST_SHOWN = 40

Act = Callable[[argparse.Namespace, "Store"], int]


def add_parser(subparsers: "Subparsers[argparse.ArgumentParser]") -> None:
    """Add `kept` and its actions to the command line."""
    text = "list, label and export the pictures that were kept"
    parser = subparsers.add_parser("kept", help=text, description=text)
    parser.set_defaults(run=run)
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    def action(name: str, act: Act, text: str) -> argparse.ArgumentParser:
        added = actions.add_parser(name, help=text, description=text)
        added.set_defaults(act=act)
        add_config_options(added)
        return added

    listing = action("list", _list, "show what is kept, the newest first")
    listing.add_argument(
        "--limit", type=int, default=_ROWS, metavar="N", help="at most so many (20); 0: all"
    )
    listing.add_argument("--json", action="store_true", help="machine-readable output")
    _add_filters(listing)

    exporting = action(
        "export", _export, "write a folder for each label, and labels.csv for `evaluate`"
    )
    exporting.add_argument("folder", type=Path, metavar="FOLDER", help="a new or empty folder")
    exporting.add_argument(
        "--unlabelled",
        action="store_true",
        help="those without a label, too, into the folder _unlabelled",
    )
    exporting.add_argument("--json", action="store_true", help="machine-readable output")
    _add_filters(exporting)

    labelling = action("label", _label, "note what a picture really shows")
    labelling.add_argument("id", metavar="ID", help="as `kept list` shows it")
    labelling.add_argument("label", metavar="LABEL", nargs="?", help="what it shows")
    labelling.add_argument("--none", action="store_true", help="take the label back")

    action("clear", _clear, "throw all kept pictures away")


def _add_filters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--view", metavar="ID", help="of this view alone")
    parser.add_argument("--kind", choices=KINDS, help="of this kind alone")
    parser.add_argument(
        "--label", metavar="LABEL", help="what a person said or, if none has, the name it was given"
    )


def run(args: argparse.Namespace) -> int:
    """Carry out one action, also beside a running daemon. Raises KeepError and UsageError."""
    config = read_config(args)
    from edgeclassifier.compose.keep import keep_store
    from edgeclassifier.doctor.machine import Machine
    from edgeclassifier.doctor.subject import Subject

    subject = Subject(machine=Machine(), config=config)
    store = keep_store(config.keep, subject.state_directory)
    if store is None:
        raise UsageError("no folder is known: set keep.path or device.state_directory")
    act: Act = args.act
    return act(args, store)


def _wanted(args: argparse.Namespace) -> Wanted:
    return Wanted(view=args.view, kind=args.kind, label=args.label)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def _list(args: argparse.Namespace, store: "Store") -> int:
    if args.limit < 0:
        raise UsageError("--limit: expected a number from 0 up")
    wanted = _wanted(args)
    damaged = [0]
    found = (each for each in store.pictures(damaged=damaged) if wanted.fits(each))
    rows = islice(found, args.limit or None)
    if args.json:
        _print_json(rows)
    else:
        _print_table(rows)
    if damaged[0]:
        report(f"{store.folder}: {damaged[0]} damaged lines: their pictures are not listed")
    return 0


def _print_json(rows: Iterator[KeptPicture]) -> None:
    # One at a time, because there may be very many.
    separator = "["
    for picture in rows:
        row = {**picture.row(), "prediction": picture.prediction}
        sys.stdout.write(f"{separator}\n  {json.dumps(row)}")
        separator = ","
    sys.stdout.write("[]\n" if separator == "[" else "\n]\n")


def _print_table(rows: Iterator[KeptPicture]) -> None:
    layout = "{:>8}  {:<9}  {:<20}  {:<12}  {:<28}  {:>6}  {}"
    _say(layout.format("ID", "KIND", "TIME", "VIEW", "TAKEN FOR", "SCORE", "LABEL"))
    for each in rows:
        when = each.timestamp[:19].replace("T", " ") + ("" if each.clock_synchronized else "?")
        label = "-" if each.label is None else _shown(each.label)
        line = layout.format(
            each.id, each.kind, when, each.view, _shown(each.name), f"{each.score:.0%}", label
        )
        _say(line.rstrip())


def _shown(text: str) -> str:
    shown = one_line(text)
    return shown if len(shown) <= _LONGEST_SHOWN else shown[: _LONGEST_SHOWN - 1] + "…"


def _export(args: argparse.Namespace, store: "Store") -> int:
    from edgeclassifier.keep.export import LABELS_FILE, export

    wanted = _wanted(args)
    found = export(
        (each for each in store.pictures() if wanted.fits(each)),
        args.folder,
        read=lambda picture: store.jpeg(picture.number),
        unlabelled=args.unlabelled,
    )
    for problem in found.problems:
        report(problem)
    if args.json:
        _say(
            json.dumps(
                {
                    "folder": str(args.folder),
                    "labels_file": str(args.folder / LABELS_FILE),
                    "pictures": found.pictures,
                    "labels": found.labels,
                    "unlabelled": found.unlabelled,
                    "left_out": len(found.problems),
                },
                indent=2,
            )
        )
    else:
        others = f", and {found.unlabelled} without one" if found.unlabelled else ""
        _say(
            one_line(
                f"{found.pictures} pictures with {found.labels} labels{others} in {args.folder}"
            )
        )
    if not found.pictures and not found.unlabelled:
        report("no picture has a label: see `edgeclassifier kept label`, or add --unlabelled")
    return EXIT_FAILURE if found.problems else 0


def _label(args: argparse.Namespace, store: "Store") -> int:
    if not is_id(args.id):
        raise UsageError(f"{one_line(args.id[:40])} is no id of a kept picture: see `kept list`")
    if args.none == (args.label is not None):
        raise UsageError("say LABEL, or --none to take it back")
    if args.label is not None and not is_label(args.label):
        raise UsageError(f"a label is a text of 1 to {LONGEST_LABEL} characters")
    try:
        picture = store.label(int(args.id), args.label)
    except RequestError as error:
        raise UsageError(str(error)) from None
    said = "no label" if picture.label is None else _shown(picture.label)
    _say(f"{picture.id}: {said} (taken for {_shown(picture.name)})")
    return 0


def _clear(_args: argparse.Namespace, store: "Store") -> int:
    count = store.clear()
    _say(one_line(f"{count} pictures thrown away in {store.folder}"))
    return 0
