"""Writes `emulator/graph/odata/served_types.json` and `routes.json` from Microsoft's published documents.

The documents are those of https://github.com/microsoftgraph/msgraph-metadata (MIT licence), checked out somewhere:

    python -m tests.emulator.graph.odata.extract --about … --v1 schemas/v1.0-Prod.csdl --beta schemas/beta-Prod.csdl

Without the newest beta document (it is large), `--names schemas/type-mappings` says what beta has, and several older
documents after `--beta`, and the models of the Python SDK after `--sdk`, say what it is; the first that knows a name wins.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.emulator.graph.odata.extract.csdl import read_csdl
from tests.emulator.graph.odata.extract.facts import Facts
from tests.emulator.graph.odata.extract.merge import merged, short_names
from tests.emulator.graph.odata.extract.routes import Routes, routes_document
from tests.emulator.graph.odata.extract.sdk import read_models, read_paths
from tests.emulator.graph.odata.extract.seen import read_seen
from tests.emulator.graph.odata.extract.write import lines, served_types

FOLDER = Path(__file__).parents[5] / "emulator" / "graph" / "odata"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Extract names and numbers from Microsoft's published metadata.")
    parser.add_argument("--v1", type=Path, required=True, help="CSDL of v1.0")
    parser.add_argument(
        "--beta", type=Path, action="append", required=True, help="CSDL of beta, the most trusted first"
    )
    parser.add_argument("--names", type=Path, help="folder of beta's published type mappings")
    parser.add_argument("--sdk", type=Path, help="folder `generated` of the Python SDK for beta")
    parser.add_argument(
        "--about", action="append", required=True, help="a line of the file's header: source and commit"
    )
    return parser.parse_args()


def _beta(given: argparse.Namespace, v1: Facts) -> tuple[Facts, list[str]]:
    documents = [read_csdl(path) for path in given.beta]
    if given.names is None:
        return documents[0], []
    names = [
        json.loads((given.names / f"beta-{kind}-types.json").read_text()) for kind in ("entity", "complex", "enum")
    ]
    known = set().union(*(short_names(one) for one in names))
    models = [] if given.sdk is None else [read_models(given.sdk / "models", known)]
    newest, *older = documents
    return merged(names[0], names[1], names[2], [read_seen(), newest, v1, *older, *models])


def _write(path: Path, about: list[str], document: Mapping[str, Any]) -> None:
    path.write_text(lines({"about": about, **document}), encoding="utf-8")


def main() -> None:
    """Read the documents named on the command line, and write both files."""
    given = _arguments()
    v1 = read_csdl(given.v1)
    beta, missing = _beta(given, v1)
    versions = {"beta": beta, "v1.0": v1}
    served = served_types(versions)
    known = {*served["types"], *served["enumerations"]}
    unknown = sorted(one for one in missing if one in known or one.rpartition(".")[0] in known)
    about = [*given.about, "Not told by any of these, and left out: " + (", ".join(unknown) or "nothing")]
    _write(FOLDER / "served_types.json", about, served)
    paths = [] if given.sdk is None else read_paths(given.sdk)
    _write(
        FOLDER / "routes.json", given.about, routes_document({"beta": Routes.of(beta, paths), "v1.0": Routes.of(v1)})
    )


if __name__ == "__main__":
    main()
