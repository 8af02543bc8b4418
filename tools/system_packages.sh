#!/bin/sh
# Install the Debian or Ubuntu packages that are missing, or say which they are.
#   system_packages.sh base|test PYTHON
set -eu
kind=$1
python=$2
missing=""

need() { missing="$missing $1"; }

if [ "$kind" = base ]; then
    command -v "$python" >/dev/null || { need python3; python=python3; }
    command -v gcc >/dev/null || need gcc
    "$python" -c 'import venv, ensurepip' 2>/dev/null || need python3-venv
    "$python" -c 'import os, sys, sysconfig
sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' \
        2>/dev/null || need python3-dev
else
    command -v aarch64-linux-gnu-gcc >/dev/null || need gcc-aarch64-linux-gnu
    [ -e /usr/aarch64-linux-gnu/lib/libc.a ] || need libc6-dev-arm64-cross
    command -v qemu-aarch64 >/dev/null || need qemu-user
    command -v tclsh >/dev/null || need tcl
    [ -e /usr/include/lz4.h ] || need liblz4-dev # FST waves of the simulation
    [ -e /usr/include/zlib.h ] || need zlib1g-dev
fi
[ -n "$missing" ] || exit 0

as_root=""
[ "$(id -u)" = 0 ] || as_root="sudo -n"
if command -v apt-get >/dev/null && { [ -z "$as_root" ] || $as_root true 2>/dev/null; }; then
    echo "installing:$missing"
    $as_root apt-get update -qq
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive $as_root apt-get install -qq -y --no-install-recommends \
        $missing >/dev/null && exit 0
fi
echo "missing packages:$missing; install them with: sudo apt-get install$missing" >&2
# The tests that need the cross tools or tclsh skip with a reason; the base packages are needed.
[ "$kind" = test ]
