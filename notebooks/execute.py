"""Execute notebooks and keep their outputs: python notebooks/execute.py [NOTEBOOK...]

Without arguments all of this folder. Cells run with this folder as the current one; an error in a
cell, or anything on its stderr, is an error here.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

NEEDED = ("nbformat", "nbclient", "ipykernel", "matplotlib")
if missing := [name for name in NEEDED if find_spec(name) is None]:
    sys.exit(f"Error: {', '.join(missing)} not installed; pip install -e '.[notebook]'")

import nbformat  # noqa: E402
from nbclient import NotebookClient  # noqa: E402
from nbclient.exceptions import CellExecutionError, DeadKernelError  # noqa: E402
from nbformat import NotebookNode  # noqa: E402

from quasar_runtime.errors import QuasarError  # noqa: E402
from quasar_runtime.files import read_text, replacing  # noqa: E402

HERE = Path(__file__).resolve().parent
CELL_SECONDS = 120


def execute(notebook: NotebookNode) -> NotebookNode:
    """Run every cell in a new kernel. Raises CellExecutionError, or RuntimeError for a warning."""
    client = NotebookClient(
        notebook,
        timeout=CELL_SECONDS,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(HERE)}},
        extra_arguments=["--log-level=ERROR"],
    )
    client.execute()
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            if output.get("name") == "stderr":
                raise RuntimeError(f"a cell wrote to stderr:\n{cell.source}\n{output['text']}")
            _keep_smaller_picture(output.get("data", {}))
    # The kernel's exact version is of the machine that ran it, not of the notebook.
    notebook.metadata["language_info"] = {"name": "python"}
    return notebook


def _keep_smaller_picture(data: dict[str, str]) -> None:
    """Pillow's pictures come as PNG and as JPEG; one will do."""
    kinds = [kind for kind in ("image/png", "image/jpeg") if kind in data]
    for kind in sorted(kinds, key=lambda k: len(data[k]))[1:]:
        del data[kind]


def main() -> int:
    for path in [Path(name) for name in sys.argv[1:]] or sorted(HERE.glob("*.ipynb")):
        try:
            notebook = execute(nbformat.reads(read_text(path), as_version=4))
            with replacing(path) as file:  # an interrupted run leaves the old outputs
                file.write((nbformat.writes(notebook) + "\n").encode())
        except CellExecutionError as e:
            print(f"Error: {path}: {e.ename}: {e.evalue}", file=sys.stderr)
            return 1
        except (QuasarError, RuntimeError, DeadKernelError, nbformat.reader.NotJSONError) as e:
            print(f"Error: {path}: {' '.join(str(e).split())}", file=sys.stderr)
            return 1
        print(path.name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
