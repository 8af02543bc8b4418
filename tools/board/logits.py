#!/usr/bin/env python3
"""Print the hash of every model's logits for every example picture, to compare two machines:

    logits.py [--device native] [--model NAME] [PICTURE...] > here.txt

One line each: model, picture, SHA-256 of the int32 accumulators and of the float32 logits.
"""

import argparse
import hashlib
import sys
from pathlib import Path

from quasar_runtime import Session, list_models


def hashed(array) -> str:
    return hashlib.sha256(array.astype(array.dtype.newbyteorder("<")).tobytes()).hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="native")
    parser.add_argument("--model", help="by default every model of the zoo")
    parser.add_argument("pictures", nargs="*", help="by default the examples of the checkout")
    chosen = parser.parse_args()
    examples = Path(__file__).resolve().parent.parent.parent / "examples"
    pictures = [Path(p) for p in chosen.pictures] or sorted(examples.glob("*.jpg"))
    if not pictures:
        sys.exit(f"logits.py: no pictures in {examples}")
    for model in [chosen.model] if chosen.model else [entry.name for entry in list_models()]:
        with Session(model, chosen.device) as session:
            for picture in pictures:
                accumulators, _ = session.run(session.preprocess(picture))
                logits = session.classify(picture).logits
                print(model, picture.name, hashed(accumulators), hashed(logits))


if __name__ == "__main__":
    main()
