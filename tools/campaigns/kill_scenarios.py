"""The commands that the campaign of kills disturbs: what each one reads and writes, what may lie
there after a kill, and what must lie there after the next run."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from quasar_runtime.bitstream import handoff as hwh
from quasar_runtime.bitstream.package import load_package, verify_package, write_checksums
from quasar_runtime.errors import QuasarError
from quasar_runtime.isa.overlay import load_overlay
from quasar_runtime.model.file import read_model, write_model
from quasar_runtime.model.synthetic import random_model
from quasar_runtime.resources import data_folder
from tools.campaigns import ROOT
from tools.campaigns.isolated import Wrong


class Scenario:
    """A command in a folder of its own.

    writes  the folder that the command writes to, its temporary files included
    logs    where its output goes
    call    a function that runs it in a forked process, or None for a process from its start
    """

    name = ""
    call: Callable[[list[str]], int] | None = None

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.inputs, self.writes, self.logs = (
            folder / part for part in ("inputs", "writes", "logs")
        )
        for part in (self.inputs, self.writes, self.logs):
            part.mkdir(parents=True)
        self.expected: Any = None

    @property
    def environment(self) -> dict[str, str]:
        """Temporary files and caches lie where they are looked at."""
        temporary = self.writes / "tmp"
        temporary.mkdir(exist_ok=True)
        cache = str(self.writes / "cache")
        return {"TMPDIR": str(temporary), "QUASAR_CACHE": cache, "PYTHONPATH": str(ROOT)}

    def load(self) -> None:
        """Import what a forked run needs."""

    def prepare(self) -> None:
        """Make the inputs."""

    def arguments(self) -> list[str]:
        """What follows `python` (or, forked, the module)."""
        raise NotImplementedError

    def begin(self) -> None:
        """Nothing has been written yet."""
        shutil.rmtree(self.writes)
        self.writes.mkdir()

    def result(self) -> Any:
        """What an undisturbed run ends with."""
        raise NotImplementedError

    def remember(self) -> None:
        """The undisturbed run's result is what every later one must end with."""
        self.expected = self.result()
        self.begin()

    def check_killed(self) -> None:
        """Raise Wrong when something half written lies where the whole is expected."""

    def check_done(self) -> None:
        """Raise Wrong unless a run ended as the undisturbed one did, leaving nothing else."""
        found = self.result()
        if found != self.expected:
            raise Wrong("result", f"{str(found)[:300]} instead of {str(self.expected)[:300]}")
        self.check_leftovers()

    def check_leftovers(self, *kept: str) -> None:
        """Raise Wrong for a file beside those that `kept` names by their paths in `writes`."""
        files = (p for p in self.writes.rglob("*") if not p.is_dir() or p.name.startswith("."))
        stray = [str(p.relative_to(self.writes)) for p in files]
        stray = sorted(p for p in stray if p not in kept and not p.startswith("cache/"))
        if stray:
            raise Wrong("leftovers", f"{stray[:5]} in all {len(stray)}")

    def printed(self) -> Any:
        """The JSON that the command printed."""
        try:
            return json.loads((self.logs / "stdout").read_bytes())
        except ValueError as e:
            raise Wrong("output", f"no JSON was printed ({e})") from None


def write_pictures(folder: Path, count: int, size: int = 40) -> None:
    """Small JPEG files, each another one."""
    folder.mkdir()
    rng = np.random.default_rng(5)
    for i in range(count):
        coarse = rng.integers(0, 256, (5, 5, 3), np.uint8)
        picture = Image.fromarray(coarse.repeat(size // 5, 0).repeat(size // 5, 1))
        picture.save(folder / f"{i:04d}.jpg")


class Infer(Scenario):
    """`quasar infer` of a folder."""

    name = "infer"

    def prepare(self) -> None:
        write_model(random_model(3), self.inputs / "m.safetensors")
        write_pictures(self.inputs / "pictures", 200)

    def arguments(self) -> list[str]:
        model = str(self.inputs / "m.safetensors")
        command = ["-m", "quasar_runtime.cli", "infer", "--json", "--model", model]
        return [*command, str(self.inputs / "pictures")]

    def result(self) -> Any:
        return [{k: v for k, v in r.items() if k != "times"} for r in self.printed()["results"]]


class Eval(Scenario):
    """`quasar eval --resume`."""

    name = "eval"

    def prepare(self) -> None:
        write_model(random_model(3), self.inputs / "m.safetensors")
        write_pictures(self.inputs / "pictures", 1000)
        lines = (f"{i:04d}.jpg {i % 10}\n" for i in range(1000))
        (self.inputs / "labels.txt").write_text("".join(lines))

    def arguments(self) -> list[str]:
        model, labels = (str(self.inputs / name) for name in ("m.safetensors", "labels.txt"))
        command = ["-m", "quasar_runtime.cli", "eval", "--json", "--model", model]
        command += ["--labels", labels, "--resume", str(self.writes / "state.jsonl")]
        return [*command, "--per-class", str(self.inputs / "pictures")]

    def begin(self) -> None:
        super().begin()
        self.answered = 0

    def _answered(self) -> int:
        """Whole lines of the state file beside its first one."""
        path = self.writes / "state.jsonl"
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        whole = [json.loads(line) for line in lines if line.endswith(b"\n")]
        return max(len(whole) - 1, 0)

    def check_killed(self) -> None:
        try:
            answered = self._answered()
        except ValueError as e:
            raise Wrong("state", f"a whole line that is no JSON: {e}") from None
        if answered < self.answered:
            raise Wrong("state", f"{answered} answers, there were {self.answered}")
        self.answered = answered

    def result(self) -> Any:
        lines = (self.writes / "state.jsonl").read_text().splitlines()[1:]
        return self.printed(), sorted(lines)

    def check_leftovers(self, *kept: str) -> None:
        super().check_leftovers("state.jsonl", *kept)


class Bench(Scenario):
    """`quasar bench --trace`."""

    name = "bench"

    def prepare(self) -> None:
        write_model(random_model(3, heads=[1] * 8, mlp=[32] * 8), self.inputs / "m.safetensors")

    def arguments(self) -> list[str]:
        model = str(self.inputs / "m.safetensors")
        command = ["-m", "quasar_runtime.cli", "bench", "--json", "--model", model]
        return [*command, "--runs", "40", "--trace", str(self.writes / "trace.json")]

    def _events(self) -> int:
        return len(json.loads((self.writes / "trace.json").read_bytes())["traceEvents"])

    def check_killed(self) -> None:
        try:
            if (self.writes / "trace.json").exists() and self._events() != self.expected[0]:
                raise Wrong("half file", f"a trace of {self._events()} events")
        except ValueError as e:
            raise Wrong("half file", f"trace.json is no JSON ({e})") from None

    def result(self) -> Any:
        return self._events(), sorted(self.printed())

    def check_leftovers(self, *kept: str) -> None:
        super().check_leftovers("trace.json", *kept)


class Install(Scenario):
    """`quasar overlays install --replace`, of one of two packages in turn."""

    name = "install"
    turn = 0

    @property
    def environment(self) -> dict[str, str]:
        return {**super().environment, "QUASAR_OVERLAYS": str(self.writes / "overlays")}

    def prepare(self) -> None:
        for which in (0, 1):
            folder = self.inputs / str(which)
            folder.mkdir()
            shutil.copy(data_folder("overlays") / "b64" / "overlay.json", folder)
            bits = np.random.default_rng(which).bytes(8 << 20)
            (folder / "b64.bit").write_bytes(bits)
            (folder / "b64.hwh").write_text(hwh.generate(load_overlay("b64")))
            write_checksums(folder)

    def arguments(self) -> list[str]:
        self.turn = 1 - self.turn
        command = ["-m", "quasar_runtime.cli", "overlays", "install", "--replace", "--json"]
        return [*command, str(self.inputs / str(self.turn))]

    def begin(self) -> None:
        """The first package is installed."""
        super().begin()
        shutil.copytree(self.inputs / "0", self.writes / "overlays" / "b64")

    def _installed(self) -> str:
        """The sum of the bitstream that is there, whole."""
        before = os.environ.get("QUASAR_OVERLAYS")
        os.environ["QUASAR_OVERLAYS"] = str(self.writes / "overlays")
        try:
            package = load_package("b64")
            verify_package(package)
        except QuasarError as e:
            raise Wrong("half overlay", str(e)) from None
        finally:
            os.environ.pop("QUASAR_OVERLAYS")
            if before is not None:
                os.environ["QUASAR_OVERLAYS"] = before
        assert package.bitstream is not None
        return hashlib.sha256(package.bitstream.read_bytes()).hexdigest()

    def check_killed(self) -> None:
        self._installed()

    def result(self) -> Any:
        wanted = hashlib.sha256((self.inputs / str(self.turn) / "b64.bit").read_bytes())
        return self._installed() == wanted.hexdigest(), self.printed()["name"]

    def check_leftovers(self, *kept: str) -> None:
        names = ("overlay.json", "b64.bit", "b64.hwh", "SHA256SUMS")
        super().check_leftovers(*(f"overlays/b64/{name}" for name in names), *kept)


class Rtl(Scenario):
    """A build of a simulation in the rtl device's cache: a small design with assertions on."""

    name = "rtl"

    def arguments(self) -> list[str]:
        return ["-c", "from tools.campaigns.kill_scenarios import build_stub; build_stub()"]

    def begin(self) -> None:
        """An empty cache, but for Verilator's own runtime in half of the cases."""
        kept = list((self.writes / "cache").rglob("verilated*.o"))
        keep = {p.name: p.read_bytes() for p in kept if self.expected and len(kept) == 2}
        super().begin()
        (self.writes / "cache" / "rtl").mkdir(parents=True)
        self.turns = getattr(self, "turns", 0) + 1
        if self.turns % 4:
            for name, data in keep.items():
                (self.writes / "cache" / "rtl" / name).write_bytes(data)

    def check_killed(self) -> None:
        import ctypes

        for path in (self.writes / "cache").rglob("*.so"):
            if ".build" in str(path):
                continue
            try:
                ctypes.CDLL(str(path)).sim_new  # noqa: B018
            except (OSError, AttributeError) as e:
                raise Wrong("half file", f"{path.name}: {e}") from None

    def result(self) -> Any:
        return (self.logs / "stdout").read_text()

    def check_leftovers(self, *kept: str) -> None:
        super().check_leftovers(*kept)
        cache = self.writes / "cache" / "rtl"
        stray = [p.name for p in cache.iterdir() if p.suffix not in (".so", ".o", ".lock")]
        if stray:
            raise Wrong("leftovers", f"{stray}")


def build_stub() -> None:
    """Build the tests' stand-in of the accelerator, and copy some bytes through it."""
    from tests.rtl.test_rtl_memory import job_of, open_stub

    with open_stub() as device:
        job, image, output = job_of(device, 2048)
        device.submit(job)
        device.wait(60)
        print("right" if np.array_equal(image, output) else "wrong")


def apart(function: Callable[[], Any]) -> Any:
    """What a function returns in a fork: PyTorch's threads must never run in this process, or the
    forks after it wait for them for ever."""
    fork = multiprocessing.get_context("fork")
    here, there = fork.Pipe(duplex=False)

    def run() -> None:
        try:
            there.send((True, function()))
        except Exception as e:
            there.send((False, e if isinstance(e, Wrong) else Wrong("check", repr(e))))

    process = fork.Process(target=run)
    process.start()
    there.close()
    good, value = here.recv()
    process.join()
    if not good:
        raise value
    return value


class Forked(Scenario):
    """A command of train/: run in a fork of this process, which has PyTorch imported.

    depth  blocks of the checkpoint
    """

    depth = 3

    def prepare(self) -> None:
        self.load()
        apart(self._prepare)

    def _prepare(self) -> None:
        from safetensors.torch import save_file

        from tests.train.export_cases import CLASSES, SIZE, random_images, random_tensors, write_tar

        tensors = random_tensors(0, depth=self.depth, heads=2)
        save_file(tensors, self.inputs / "deit_small.safetensors")
        write_tar(self.inputs / "mix.tar", random_images(160, seed=1, size=64))
        labels = [{"index": i, "wnid": f"n{i:08d}", "name": str(i)} for i in range(CLASSES)]
        (self.inputs / "imagenet_classes.json").write_text(json.dumps(labels))
        (self.inputs / "space.yaml").write_text(
            f"image_size: {SIZE}\nclasses: {CLASSES}\nwidths: [32, 64]\ndepths: [2, 3]\n"
            "heads: [1, 2]\nmlp: [64, 96]\nshares: [0, 0.5, 1]\n"
        )
        (self.inputs / "recipe.yaml").write_text(
            f"space: {self.inputs / 'space.yaml'}\nviews: 96\nbatch: 8\nheld_out: 8\n"
            "calibration: 16\nevaluate: 6\nsave: 1\nworkers: 0\n"
        )

    def common(self) -> list[str]:
        """Options of both commands."""
        checkpoint, images = (
            str(self.inputs / name) for name in ("deit_small.safetensors", "mix.tar")
        )
        return ["--checkpoint", checkpoint, "--images", images]


def _called(command: Any, arguments: list[str]) -> int:
    """A click command's exit code."""
    try:
        command.main(arguments, standalone_mode=True)
    except SystemExit as e:
        return e.code if isinstance(e.code, int) else 1
    return 0


class Train(Forked):
    """`quasar-train supernet`, twelve steps of a small supernet, each of which is saved."""

    name = "train"

    def load(self) -> None:
        import train.training.train  # noqa: F401

    @staticmethod
    def call(arguments: list[str]) -> int:  # type: ignore[override]
        from train.commands.supernet import supernet

        return _called(supernet, arguments)

    def arguments(self) -> list[str]:
        recipe = str(self.inputs / "recipe.yaml")
        options = ["--recipe", recipe, "--out", str(self.writes / "run"), "--threads", "1"]
        return [*self.common(), *options, "--no-fuse"]

    def begin(self) -> None:
        super().begin()
        self.step = -1

    def _state(self) -> dict[str, Any] | None:
        import torch

        path = self.writes / "run" / "last.pt"
        if not path.exists():
            return None
        try:
            saved: dict[str, Any] = torch.load(path, weights_only=True)
        except Exception as e:
            raise Wrong("half file", f"last.pt cannot be read: {e}") from None
        return saved

    def _step(self) -> int:
        saved = self._state()
        return -1 if saved is None else int(saved["step"])

    def check_killed(self) -> None:
        step = apart(self._step)
        if step < self.step:
            raise Wrong("state", f"at step {step}, was at {self.step}")
        self.step = step

    def result(self) -> Any:
        return apart(self._result)

    def _result(self) -> Any:
        saved = self._state()
        if saved is None:
            raise Wrong("result", "no last.pt")
        digest = hashlib.sha256()
        for part in ("supernet", "average"):
            for name, value in sorted(saved[part].items()):
                digest.update(name.encode() + value.contiguous().numpy().tobytes())
        lines = (self.writes / "run" / "metrics.jsonl").read_text().splitlines()
        metrics = [{k: v for k, v in json.loads(line).items() if k not in ("seconds", "cpu")}
                   for line in lines]  # fmt: skip
        return saved["step"], digest.hexdigest(), metrics

    def check_leftovers(self, *kept: str) -> None:
        files = ("recipe.json", "last.pt", "metrics.jsonl")
        super().check_leftovers(*(f"run/{name}" for name in files), *kept)


class Export(Forked):
    """`quasar-train export`, whose time goes into the blocks' rounding: one block."""

    name = "export"
    depth = 1

    def load(self) -> None:
        import train.pipelines.export  # noqa: F401

    @staticmethod
    def call(arguments: list[str]) -> int:  # type: ignore[override]
        import torch

        torch.set_num_threads(1)
        from train.commands.export import export

        return _called(export, arguments)

    def arguments(self) -> list[str]:
        options = ["--name", "m", "--share8", "0.5", "--calibration", "16"]
        return [*self.common(), *options, "--out", str(self.writes / "m.safetensors")]

    def check_killed(self) -> None:
        path = self.writes / "m.safetensors"
        if path.exists():
            try:
                read_model(path)
            except QuasarError as e:
                raise Wrong("half file", str(e)) from None

    def result(self) -> Any:
        return hashlib.sha256((self.writes / "m.safetensors").read_bytes()).hexdigest()

    def check_leftovers(self, *kept: str) -> None:
        super().check_leftovers("m.safetensors", *kept)


SCENARIOS: dict[str, type[Scenario]] = {
    s.name: s for s in (Infer, Eval, Bench, Install, Rtl, Train, Export)
}
