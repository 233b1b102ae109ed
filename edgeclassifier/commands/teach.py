"""`edgeclassifier teach`: a model of one's own classes, from a folder of pictures for each."""

import argparse
import dataclasses
import hashlib
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from edgeclassifier.commands.common import (
    Subparsers,
    add_config_options,
    config_path,
    examine_model,
    report,
)
from edgeclassifier.errors import ModelError, TeachingError, UsageError
from edgeclassifier.host.limits import limit_memory
from edgeclassifier.host.priority import LOWEST
from edgeclassifier.host.terminal import lines

if TYPE_CHECKING:
    from edgeclassifier.config import Config
    from edgeclassifier.models.store import ModelStore
    from edgeclassifier.teach.teaching import Taught

_MEMORY_BYTES = 1 << 30
_BASE_COPIES = 4
_MINUTES = 60.0
_CARRIED = ("model.input_size", "model.channels")


def add_parser(subparsers: "Subparsers[argparse.ArgumentParser]") -> None:
    """Describe the command."""
    parser = subparsers.add_parser(
        "teach",
        help="make a model of your own classes from pictures",
        description="Learn classes from a folder that has one folder of pictures for each, say "
        "how good the result is, and install it as an ordinary model. A folder _other holds what "
        "is none of the classes, and is published as unknown; it may be empty.",
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="the folder of the classes")
    parser.add_argument("--name", required=True, help="what to call the model")
    parser.add_argument(
        "--base",
        metavar="NAME|FILE",
        help="the model whose network is used (default: the bundled one)",
    )
    parser.add_argument(
        "--labels",
        type=Path,
        metavar="CSV",
        help="lines of FILE,CLASS with files in FOLDER, instead of folders",
    )
    parser.add_argument(
        "--no-variants",
        action="store_true",
        help="learn the pictures only as they are, not brighter, warmer and shifted, too",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="say how good it would be, and install nothing"
    )
    parser.add_argument(
        "--minutes",
        type=float,
        default=_MINUTES,
        metavar="N",
        help=f"give up after so many (default: {_MINUTES:g})",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_config_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Learn, say how good it is, and install it; what runs beside a daemon gives way to that."""
    # Threads that NumPy and the interpreter start later inherit it.
    os.setpriority(os.PRIO_PROCESS, 0, LOWEST)
    # Its threads would wait for each other, and for a busy core, longer than one computes.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from edgeclassifier.compose.model import find_model, model_store
    from edgeclassifier.host.progress import progress
    from edgeclassifier.teach.examples import read_folder, read_list
    from edgeclassifier.teach.report import as_data, as_text
    from edgeclassifier.teach.teaching import teach

    if not args.minutes > 0:
        raise UsageError(f"--minutes {args.minutes:g}: expected a number above 0")
    config = _for_base(args)
    store = model_store(config.model.store)
    if not args.dry_run:
        store.check_own(args.name)
    examples = read_list(args.folder, args.labels) if args.labels else read_folder(args.folder)
    _limit(find_model(config.model).path)
    try:
        with progress(len(examples.pictures), label=args.name, unit="pictures") as advance:
            taught = teach(
                config,
                examples,
                name=args.name,
                varying=not args.no_variants,
                seconds=60 * args.minutes,
                advance=advance,
            )
        path = None if args.dry_run else _install(args, store, taught)
    except MemoryError:
        raise TeachingError("there is too little memory: use fewer pictures") from None
    for note in (*examples.notes, *taught.lesson.unreadable):
        report(note)
    if args.json:
        text = json.dumps(as_data(args.name, taught, path), indent=2, ensure_ascii=False)
    else:
        text = as_text(args.name, taught, path)
    sys.stdout.write(lines(text) + "\n")
    return 0


def _for_base(args: argparse.Namespace) -> "Config":
    """Load the configuration; what it says of another model than the base does not count."""
    from edgeclassifier.compose.model import BUNDLED_MODEL
    from edgeclassifier.config import load_config

    config = load_config(config_path(args), overrides=args.set)
    base = args.base or BUNDLED_MODEL
    if base == config.model.name:
        return config
    model = load_config(None, overrides=[*args.set, f"model.name={json.dumps(base)}"]).model
    kept = {key: getattr(config.model, key) for key in ("runtime", "threads", "store")}
    return dataclasses.replace(config, model=dataclasses.replace(model, **kept))


def _limit(base: Path) -> None:
    try:
        limit_memory(_MEMORY_BYTES + _BASE_COPIES * base.stat().st_size)
    except OSError as error:
        raise ModelError(f"{base}: model file cannot be read: {error.strerror}") from None


def _install(args: argparse.Namespace, store: "ModelStore", taught: "Taught") -> Path:
    from edgeclassifier.models.golden import forget_golden, write_golden
    from edgeclassifier.teach.features import in_memory
    from edgeclassifier.teach.teaching import check_taught

    # What a file cannot say and the base was prepared with.
    carried = [each for each in args.set if each.partition("=")[0].strip() in _CARRIED]

    def check(copy: Path) -> None:
        check_taught(copy, taught.labels)
        doubt = examine_model(
            str(copy.absolute()), settings=carried, store=str(store.root.absolute())
        )
        if doubt:
            report(f"warning: {doubt.replace(copy.stem, args.name, 1)}")

    before = store.recorded_sha256(args.name)
    digest = unused = hashlib.sha256(taught.content).hexdigest()
    write_golden(store.root, digest, taught.golden)
    try:
        with in_memory(taught.content) as file:
            added = store.add(
                file,
                name=args.name,
                settings=carried,
                source=str(args.folder.absolute()),
                taught=taught.teaching(),
                examine=check,
            )
        unused = before
        if carried:
            report(f"{args.name} needs what its base needs: {', '.join(carried)}")
    finally:
        if before != digest:
            forget_golden(store.root, unused)
    return added.path
