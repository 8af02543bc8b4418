"""Images per second of the native engine, OpenVINO and ONNX Runtime on one network in int8.

    pip install -e . -r benchmarks/requirements.txt
    python benchmarks/compare_runtimes.py ../shared/data/deit_tiny_patch16_224.safetensors \\
        --model deit-tiny-w8

Each contender classifies single images from memory to logits, with the same number of threads, in
a process of its own that waits on a pipe while the others run. Each round times all of them one
after another, so that a slow moment of the machine hits all alike. Printed are the median over the
rounds of each round's median, and the median of the rounds' ratios. The int8 models of OpenVINO
(NNCF, transformer preset) and ONNX Runtime are calibrated on random input: only their speed is
measured.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

Infer = Callable[[], object]
CALIBRATION = 16


def random_images(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(size=(1, 3, 224, 224)).astype(np.float32) for _ in range(count)]


def make_models(checkpoint: Path, folder: Path) -> None:
    """float.onnx, and from it nncf.xml, qdq.onnx and dynamic.onnx."""
    import nncf
    import onnx
    import openvino
    from float_onnx import build
    from onnxruntime import quantization as ortq

    onnx.save(build(checkpoint), folder / "float.onnx")
    data = random_images(CALIBRATION)
    graph = openvino.Core().read_model(folder / "float.onnx")
    quantised = nncf.quantize(
        graph,
        nncf.Dataset(data),
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=CALIBRATION,
    )
    openvino.save_model(quantised, folder / "nncf.xml")

    class Reader(ortq.CalibrationDataReader):
        def __init__(self) -> None:
            self.items = iter(data)

        def get_next(self) -> dict[str, np.ndarray] | None:
            item = next(self.items, None)
            return None if item is None else {"image": item}

    source = str(folder / "float.onnx")
    ortq.quantize_static(source, str(folder / "qdq.onnx"), Reader(), per_channel=True)
    ortq.quantize_dynamic(source, str(folder / "dynamic.onnx"), per_channel=True)


def openvino_infer(path: Path, threads: int, precision: str) -> Infer:
    import openvino

    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "INFERENCE_PRECISION_HINT": precision,
        "PERFORMANCE_HINT": "LATENCY",
    }
    core = openvino.Core()
    request = core.compile_model(core.read_model(path), "CPU", settings).create_infer_request()
    image = random_images(1)
    return lambda: request.infer(image)


def onnxruntime_infer(path: Path, threads: int) -> Infer:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    image = {"image": random_images(1)[0]}
    return lambda: session.run(None, image)


def quasar_infer(model: str, threads: int, kernels: str | None) -> Infer:
    from quasar_runtime.compiler.compile import compile_model
    from quasar_runtime.devices.base import Job
    from quasar_runtime.devices.native.device import NativeDevice
    from quasar_runtime.isa.overlay import load_overlay
    from quasar_runtime.model.zoo import load_model

    program = compile_model(load_model(model), load_overlay("b1024"))
    device = NativeDevice(program.overlay, threads=threads, kernels=kernels)
    areas = {}
    for name in ("data", "image", "output", "profile"):
        size = program.data.size if name == "data" else getattr(program, f"{name}_bytes")
        areas[name] = device.allocate(size)
    areas["data"].array[:] = program.data
    areas["image"].array[:] = np.random.default_rng(0).integers(0, 256, program.image_bytes)
    device.load(areas["data"].address, program.data.size, program.count)
    job = Job.of(program.count, *areas.values())

    def infer() -> None:
        device.submit(job)
        device.wait(10.0)

    return infer


def serve(pipe: Connection, maker: Callable[..., Infer], arguments: tuple[object, ...]) -> None:
    """A contender's process: for each number n received, run n images and send their times."""
    sys.path.insert(0, str(Path(__file__).parent))
    try:
        infer = maker(*arguments)
        for _ in range(5):
            infer()
    except Exception as e:  # the comparison goes on without this contender, and says why
        pipe.send(f"{type(e).__name__}: {e}")
        return
    pipe.send("ready")
    while (images := pipe.recv()) > 0:
        times = []
        for _ in range(images):
            start = time.perf_counter()
            infer()
            times.append(time.perf_counter() - start)
        pipe.send(times)


def contenders(folder: Path, model: str, threads: int) -> dict[str, tuple[object, ...]]:
    return {
        "quasar": (quasar_infer, (model, threads, None)),
        "quasar avx512vnni": (quasar_infer, (model, threads, "avx512vnni")),
        "openvino int8, bf16 rest": (openvino_infer, (folder / "nncf.xml", threads, "bf16")),
        "openvino int8, fp32 rest": (openvino_infer, (folder / "nncf.xml", threads, "f32")),
        "onnxruntime int8 qdq": (onnxruntime_infer, (folder / "qdq.onnx", threads)),
        "onnxruntime int8 dynamic": (onnxruntime_infer, (folder / "dynamic.onnx", threads)),
    }


def compare(folder: Path, model: str, threads: int, rounds: int, images: int) -> dict[str, object]:
    """Images per second of every contender, and how many times faster 'quasar' is."""
    context = multiprocessing.get_context("spawn")
    workers = {}
    for name, (maker, arguments) in contenders(folder, model, threads).items():
        here, there = context.Pipe()
        process = context.Process(target=serve, args=(there, maker, arguments), daemon=True)
        process.start()
        said = here.recv() if here.poll(180) else "no answer in 180 s"
        if said == "ready":
            workers[name] = (here, process)
        else:
            print(f"  {name}: left out ({said})", file=sys.stderr)
            process.terminate()
    if "quasar" not in workers:
        raise SystemExit("there is nothing to compare with: quasar was left out")
    medians: dict[str, list[float]] = {name: [] for name in workers}
    for _ in range(rounds):
        for name, (pipe, _process) in workers.items():
            pipe.send(images)
            if not pipe.poll(120):
                raise SystemExit(f"{name} did not answer within 120 s")
            medians[name].append(statistics.median(pipe.recv()))
    for pipe, process in workers.values():
        pipe.send(0)
        process.join(10)
    return {
        name: {
            "images_per_second": 1 / statistics.median(times),
            "quasar_is_times_faster": statistics.median(
                t / q for t, q in zip(times, medians["quasar"], strict=True)
            ),
        }
        for name, times in medians.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path, help="the float network, under timm's names")
    parser.add_argument(
        "--model",
        default="deit-tiny-w8",
        help="the zoo's model of that network (default: %(default)s)",
    )
    parser.add_argument(
        "--threads", type=int, nargs="+", default=[1, 2], help="threads to measure with"
    )
    parser.add_argument(
        "--rounds", type=int, default=9, help="turns of all contenders (default: %(default)s)"
    )
    parser.add_argument(
        "--images",
        type=int,
        default=20,
        help="images per contender and round (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parent))
    result = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # In a process of its own: the quantisers leave thread pools behind.
        maker = multiprocessing.get_context("spawn").Process(
            target=make_models_here, args=(options.checkpoint, folder)
        )
        maker.start()
        maker.join()
        if maker.exitcode:
            raise SystemExit(maker.exitcode)  # it has said why
        for threads in options.threads:
            figures = compare(folder, options.model, threads, options.rounds, options.images)
            result[f"{threads} threads"] = figures
            print(f"{threads} thread{'s' if threads > 1 else ''}:", file=sys.stderr)
            for contender, f in figures.items():
                print(
                    f"  {contender:26s} {f['images_per_second']:7.1f} images/s, quasar is "
                    f"{f['quasar_is_times_faster']:.2f} times as fast",
                    file=sys.stderr,
                )
    if options.json:
        print(json.dumps(result, indent=2))


def make_models_here(checkpoint: Path, folder: Path) -> None:
    """make_models in a fresh interpreter, which does not have this folder on its path."""
    from safetensors import SafetensorError

    sys.path.insert(0, str(Path(__file__).parent))
    try:
        make_models(checkpoint, folder)
    except (ImportError, OSError, SafetensorError) as e:
        raise SystemExit(f"Error: the int8 models of {checkpoint} cannot be made: {e}") from None


if __name__ == "__main__":
    main()
