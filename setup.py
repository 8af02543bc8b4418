"""Packaging that pyproject.toml cannot state: the engine is compiled by cffi; zoo, overlays and RTL
travel inside the package; `train/` is installed as `quasar_train`."""

import shutil
import sysconfig
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
# cffi builds for the stable ABI, except for free-threaded Pythons, which have none.
STABLE_ABI = not sysconfig.get_config_var("Py_GIL_DISABLED")


class BuildWithData(build_py):
    """build_py that also copies the zoo, the overlays and the RTL to `quasar_runtime/_data`."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib) / "quasar_runtime" / "_data"
        patterns = {
            "model_zoo": ("*.safetensors", "index.json"),
            "overlays": ("*/overlay.json", "*/synth.json", "*/*.bit", "*/*.hwh", "*/SHA256SUMS"),
            "hw_src": ("rtl/**/*.sv", "sim/sim_main.cpp", "sim/*.h", "synth/shapes.json"),
        }
        for folder, globs in patterns.items():
            for pattern in globs:
                for source in (ROOT / folder).glob(pattern):
                    copy = target / source.relative_to(ROOT)
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(source, copy)


setup(
    packages=[
        *find_packages(include=["quasar_runtime*"]),
        "quasar_train",
        *(f"quasar_train.{package}" for package in find_packages("train")),
    ],
    package_dir={"quasar_train": "train"},
    package_data={
        "quasar_runtime": ["py.typed"],
        "quasar_runtime.devices.native": ["engine/*.[ch]", "kernels/*.[ch]"],
        "quasar_train": ["py.typed", "recipes/*.yaml", "subnets/*.json"],
        "quasar_train.spaces": ["*.yaml"],
    },
    cmdclass={"build_py": BuildWithData},
    cffi_modules=["quasar_runtime/devices/native/build.py:ffibuilder"],
    options={"bdist_wheel": {"py_limited_api": "cp310"}} if STABLE_ABI else {},
)
