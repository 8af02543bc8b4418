"""What atheris runs: bytes to the model file's reader. Started by coverage_guided.py.

An input is a model file. Two out of three are repaired before they are read, as no fuzzer guesses a
SHA-256: the header's length is made right, and the manifest gets the sum of the data.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["quasar_runtime"]):
    from quasar_runtime.model import manifest, validate  # noqa: F401
    from tools.campaigns.models import Judge

from tools.campaigns.model_mutations import HEADER, RAW


def repaired(raw: bytes) -> bytes:
    """The file with its header's length and its data's sum made right, where there is JSON to be
    read; as it is otherwise. What follows the last brace of the header is data."""
    length = int.from_bytes(raw[:8], "little")
    header, data = raw[8 : 8 + length], raw[8 + length :]
    try:
        table = json.loads(header)
        text = json.loads(table["__metadata__"]["quasar"])
        text["data_sha256"] = hashlib.sha256(data).hexdigest()
        table["__metadata__"]["quasar"] = json.dumps(text)
        header = json.dumps(table).encode()
    except (ValueError, TypeError, KeyError, RecursionError, AttributeError):
        return len(header).to_bytes(8, "little") + header + data
    return len(header).to_bytes(8, "little") + header + data


def mutate(data: bytes, most: int, seed: int) -> bytes:
    """libFuzzer's own mutation of one part: the whole file, the header, the manifest in it, or the
    data. The parts around it stay whole."""
    length = int.from_bytes(data[:8], "little")
    header, rest = data[8 : 8 + length], data[8 + length :]
    part = seed % 4
    if part == 0 or not 0 < length < len(data):
        return atheris.Mutate(data, most)  # type: ignore[no-any-return]
    if part == 1:
        header = atheris.Mutate(header, most // 2)
    elif part == 2:
        try:
            table = json.loads(header)
            text = atheris.Mutate(table["__metadata__"]["quasar"].encode(), most // 4)
            table["__metadata__"]["quasar"] = text.decode(errors="surrogateescape")
            header = json.dumps(table).encode()
        except (ValueError, TypeError, KeyError, RecursionError, AttributeError):
            header = atheris.Mutate(header, most // 2)
    else:
        rest = atheris.Mutate(rest, max(most - len(header) - 8, 1))
    return (len(header).to_bytes(8, "little") + header + rest)[:most]


def main() -> None:
    """Fuzz with libFuzzer's arguments; an empty corpus begins with a legal file."""
    corpus = Path(sys.argv[1])
    if not any(corpus.iterdir()):
        (corpus / "legal").write_bytes(RAW)
        (corpus / "short").write_bytes(RAW[: len(json.dumps(HEADER))])
    judge = Judge()

    def once(data: bytes) -> None:
        judge(repaired(data) if len(data) % 3 else data)

    atheris.Setup(sys.argv, once, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
