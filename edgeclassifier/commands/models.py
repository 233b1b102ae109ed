# ruff: noqa: T201 - the results of a command belong on standard output
"""`edgeclassifier models`: list, fetch, add, verify, remove and find models."""

import argparse
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from edgeclassifier.commands.common import examine_model, report
from edgeclassifier.errors import EXIT_FAILURE, ModelError, TrialError
from edgeclassifier.host.durable import reason
from edgeclassifier.host.terminal import one_line
from edgeclassifier.models.catalogue import CATALOGUE, CatalogueModel
from edgeclassifier.models.download import fetch
from edgeclassifier.models.golden import forget_golden
from edgeclassifier.models.names import unknown_download
from edgeclassifier.models.records import Verification
from edgeclassifier.models.soundness import needs_edge_tpu
from edgeclassifier.models.store import ModelStore, default_store_root

_KB, _MB = 1e3, 1e6
_SMALLEST_MB = 0.1


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `models` and its actions to the command line."""
    parser = subparsers.add_parser("models", help="list, fetch, add, verify and remove models")
    parser.set_defaults(run=run)
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    def action(
        name: str, act: Callable[[argparse.Namespace, ModelStore], int], text: str
    ) -> argparse.ArgumentParser:
        added = actions.add_parser(name, help=text, description=text)
        added.set_defaults(act=act)
        added.add_argument(
            "--store",
            type=Path,
            metavar="DIR",
            help="folder of installed models (default: $EDGECLASSIFIER_MODELS, the service's "
            "state directory or the user's data directory)",
        )
        return added

    listing = action("list", _list, "show the models that are known or installed")
    listing.add_argument("--json", action="store_true", help="machine-readable output")

    fetching = action("fetch", _fetch, "download and install a model of the catalogue")
    fetching.add_argument("name", metavar="NAME")
    fetching.add_argument(
        "--url", help="a mirror: the file, or with a slash at its end the folder that has it"
    )
    fetching.add_argument("--force", action="store_true", help="fetch it even if it is installed")

    adding = action("add", _add, "install a model file of your own")
    adding.add_argument("file", type=Path, metavar="FILE")
    adding.add_argument("--name", help="what to call it (default: the name of the file)")
    adding.add_argument("--labels", type=Path, metavar="FILE", help="its labels, one a line")
    adding.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a key it is to be tried with, such as --set model.output=logits",
    )

    verifying = action("verify", _verify, "compare every model with what was installed, and try it")
    verifying.add_argument("--json", action="store_true", help="machine-readable output")

    removing = action("remove", _remove, "remove an installed model with its labels and its record")
    removing.add_argument("name", metavar="NAME")

    finding = action("path", _path, "print the file of a model")
    finding.add_argument("name", metavar="NAME")


def run(args: argparse.Namespace) -> int:
    """Carry out one action and return the exit code.

    Raises ModelError and DownloadError.
    """
    act: Callable[[argparse.Namespace, ModelStore], int] = args.act
    root: Path = args.store or default_store_root(os.environ)
    return act(args, ModelStore(root=root))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """What `list` knows about one model; None if it is not known."""

    name: str
    state: Literal["installed", "bundled", "available", "taught"]
    input_size: int | None
    accelerator: str | None
    size_bytes: int | None
    license: str | None
    path: Path | None
    taught: dict[str, Any] | None
    """What its record says of how it was taught here."""


def _rows(store: ModelStore) -> list[_Row]:
    paths = {model.name: model.path for model in store.installed()}
    bundled = {model.name: model.bundled_path for model in CATALOGUE.values() if model.bundled}
    rows = []
    for name in sorted({*paths, *CATALOGUE}):
        known = CATALOGUE.get(name)
        path = bundled.get(name) or paths.get(name)
        taught = store.teaching(name) if name in paths else None
        state: Literal["installed", "bundled", "available", "taught"] = "available"
        if path is not None:
            state = "bundled" if name in bundled else "taught" if taught else "installed"
        rows.append(
            _Row(
                name=name,
                state=state,
                input_size=known.input_size if known else None,
                accelerator=known.accelerator if known else None,
                size_bytes=_size(path, known),
                license=known.license if known else None,
                path=path,
                taught=taught,
            )
        )
    return rows


def _size(path: Path | None, known: CatalogueModel | None) -> int | None:
    if path and path.is_file():
        return path.stat().st_size
    return known.size_bytes if known else None


def _shown_size(size_bytes: int | None) -> str:
    if size_bytes is None:
        return "-"
    is_small = size_bytes < _SMALLEST_MB * _MB
    return f"{size_bytes / _KB:.1f} kB" if is_small else f"{size_bytes / _MB:.1f} MB"


def _list(args: argparse.Namespace, store: ModelStore) -> int:
    rows = _rows(store)
    if args.json:
        objects = [asdict(row) | {"path": row.path and str(row.path)} for row in rows]
        print(json.dumps(objects, indent=2))
        return 0
    table = [("NAME", "INPUT", "RUNS ON", "STATE", "SIZE", "LICENSE")]
    table += [
        (
            row.name,
            f"{row.input_size}x{row.input_size}" if row.input_size else "-",
            row.accelerator or "-",
            row.state,
            _shown_size(row.size_bytes),
            row.license or "-",
        )
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        print(one_line("  ".join(map(str.ljust, line, widths)).rstrip()))
    return 0


def _fetch(args: argparse.Namespace, store: ModelStore) -> int:
    model = CATALOGUE.get(args.name)
    if model is None:
        raise ModelError(unknown_download(args.name))
    print(one_line(str(fetch(model, store, url=args.url, force=args.force, show_progress=True))))
    return 0


def _add(args: argparse.Namespace, store: ModelStore) -> int:
    labels: Path | None = args.labels
    # By hand beside a file that is only recorded where it is.
    beside = args.file.with_name(f"{args.file.stem}.labels.txt")
    if labels is None and args.file.parent.absolute() == store.root.absolute() and beside.is_file():
        labels = beside

    def check(copy: Path) -> None:
        where = str(copy.absolute())
        try:
            doubt = examine_model(
                where, labels="" if labels is None else str(labels), settings=args.set
            )
        except ModelError as error:
            raise ModelError(str(error).replace(where, str(args.file))) from None
        except TrialError as error:
            raise TrialError(str(error).replace(where, str(args.file))) from None
        if doubt:
            report(f"warning: {doubt.replace(copy.stem, args.file.stem, 1)}")

    added = store.add(
        args.file, name=args.name, labels=args.labels, settings=args.set, examine=check
    )
    print(one_line(str(added.path)))
    return 0


def _tried(result: Verification, store: ModelStore) -> Verification:
    """Add to what was found of a model's file whether it can be used."""
    if result.status not in {"ok", "unrecorded"}:
        return result
    try:
        if needs_edge_tpu(result.path):
            return result
        settings = store.settings(result.name)
        doubt = examine_model(result.name, settings=settings, store=str(store.root.absolute()))
    except ModelError as error:
        return replace(result, status="unusable", detail=str(error))
    except OSError as error:
        return replace(result, status="unreadable", detail=reason(error))
    except TrialError as error:
        doubt = str(error)
    detail = (doubt or "").removeprefix(f"{result.name}: ")
    return replace(result, detail="; ".join(filter(None, (result.detail, detail))))


def _verify(args: argparse.Namespace, store: ModelStore) -> int:
    results = [_tried(each, store) for each in store.verify()]
    if args.json:
        objects = [asdict(result) | {"path": str(result.path)} for result in results]
        print(json.dumps(objects, indent=2))
    else:
        for result in results:
            detail = f" ({result.detail})" if result.detail else ""
            print(one_line(f"{result.name}: {result.status}{detail}"))
    bad = any(result.status not in {"ok", "unrecorded"} for result in results)
    return EXIT_FAILURE if bad else 0


def _remove(args: argparse.Namespace, store: ModelStore) -> int:
    forget_golden(store.root, store.remove(args.name))
    return 0


def _path(args: argparse.Namespace, store: ModelStore) -> int:
    print(one_line(str(store.path(args.name))))
    return 0
