#!/bin/sh
# Install the Debian or Ubuntu packages that are missing, after printing the command and why:
#   system_packages.sh base|test PYTHON [VENV]
# `base` is what Quasar needs, `test` also what some tests need. DEPS=no in the environment: install
# nothing, name them. Without root or `sudo -n`: say in one line what an administrator has to run.
# Fails if a base package is missing in the end, or if VENV was made with another Python.
set -eu
kind=$1
python=$2
venv=${3:-}

need() { # PACKAGE WHY
    packages="$packages $1"
    reasons="$reasons
  $1: $2"
}

# The packages of python3.N bear its name; whatever else PYTHON is, a path or a shim, python3's.
case ${python##*/} in
    python3.[0-9]*) python_package=${python##*/} ;;
    *) python_package=python3 ;;
esac

look() { # sets packages, reasons, and base: whether a base package is among them
    packages="" reasons="" base=no
    command -v "$python" >/dev/null || need "$python_package" "runs Quasar"
    "$python" -c 'import venv, ensurepip' 2>/dev/null ||
        need "$python_package-venv" "makes the virtual environment"
    "$python" -c 'import os, sys, sysconfig
sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' 2>/dev/null ||
        need "$python_package-dev" "Python.h, for the C engine"
    command -v "${CC:-gcc}" >/dev/null || need gcc "compiles the C engine"
    echo '#include <stdio.h>' | "${CC:-gcc}" -E - >/dev/null 2>&1 ||
        need libc6-dev "the C library's headers"
    [ -z "$packages" ] || base=yes
    [ "$kind" = test ] || return 0
    command -v g++ >/dev/null || need g++ "compiles the simulated accelerator"
    command -v clang >/dev/null || need clang "compiles the engine a second time, for comparison"
    command -v musl-gcc >/dev/null || need musl-tools "compiles the engine for musl"
    command -v aarch64-linux-gnu-gcc >/dev/null ||
        need gcc-aarch64-linux-gnu "compiles the engine for the board's processor"
    [ "$(uname -m)" = aarch64 ] || [ -e /usr/aarch64-linux-gnu/lib/libc.a ] ||
        need libc6-dev-arm64-cross "the board's C library"
    command -v qemu-aarch64 >/dev/null || need qemu-user "runs what is compiled for the board"
    command -v tclsh >/dev/null || need tcl "runs Vivado's scripts against a stand-in"
    [ -e /usr/include/lz4.h ] || need liblz4-dev "compresses the simulation's waves"
    [ -e /usr/include/zlib.h ] || need zlib1g-dev "compresses the simulation's waves"
}

fail() {
    [ "$base" = no ] || { echo "$1" >&2; exit 1; }
    echo "$1 (the tests that need them will be skipped)" >&2
    exit 0
}

install() {
    tail="--no-install-recommends$packages"
    by_hand="an administrator has to run: apt-get update && apt-get install -y $tail"
    [ "${DEPS:-yes}" != no ] || fail "DEPS=no, and these packages are missing:$packages; $by_hand"
    command -v apt-get >/dev/null ||
        fail "these packages are missing, by Debian's names:$packages; without apt-get, install them by hand"
    root=""
    if [ "$(id -u)" != 0 ]; then
        sudo -n true 2>/dev/null || fail "these packages are missing:$packages; $by_hand"
        root="sudo -n "
    fi
    echo "Installing system packages that are missing (DEPS=no installs none):$reasons"
    # A system that has just started may hold apt's lock, to update itself.
    for command in "apt-get update -qq" "apt-get install -qq -y -o DPkg::Lock::Timeout=300 $tail"; do
        command="${root}env DEBIAN_FRONTEND=noninteractive $command"
        echo "+ $command"
        $command >/dev/null </dev/null || echo "apt-get failed, see above" >&2
    done
    look
    [ -z "$packages" ] ||
        fail "still missing after that:$packages; if this release has no such package, name another Python with PYTHON="
}

check_python() {
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || {
        echo "$("$python" -V) is too old: Quasar needs 3.10 or newer; name one with PYTHON=" >&2
        exit 1
    }
    [ -h "$venv/bin/python" ] || return 0
    minor='import sys; print("Python {}.{}".format(*sys.version_info))'
    here=$("$venv/bin/python" -c "$minor" 2>&1) || here="a Python that is gone"
    asked=$("$python" -c "$minor")
    [ "$here" = "$asked" ] || {
        echo "$venv has $here, and PYTHON=$python is $asked: remove it (make clean)," \
            "or keep both: VENV=.venv-${python##*/}" >&2
        exit 1
    }
}

look
[ -z "$packages" ] || install
check_python
