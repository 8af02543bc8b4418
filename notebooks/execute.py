"""Execute notebooks and keep their outputs: python notebooks/execute.py [NOTEBOOK...]

Without arguments all of this folder. Cells run with this folder as the current one; an error in a
cell, or anything on its stderr, is an error here.
"""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

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
        notebook = execute(nbformat.read(path, as_version=4))
        nbformat.write(notebook, path)
        print(path.name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
