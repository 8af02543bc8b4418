#!/bin/sh
# Pack everything that a board without internet needs to install Quasar, in a checkout on a computer
# that has internet:
#   tools/board/bundle.sh [--python 3.10] [--machine aarch64] [--output quasar-board.tar.gz]
# On the board: tar xzf quasar-board.tar.gz && sudo quasar-board/install.sh
set -eu

python=3.10
machine=aarch64
output=quasar-board.tar.gz
while [ $# -gt 0 ]; do
    case "$1=${2:-}" in
        --python=?*) python=$2 ;;
        --machine=?*) machine=$2 ;;
        --output=?*) output=$2 ;;
        *) echo "usage: $0 [--python 3.10] [--machine aarch64] [--output FILE]" >&2; exit 2 ;;
    esac
    shift 2
done

root=$(cd "$(dirname "$0")/../.." && pwd)
pip=${PIP:-"python3 -m pip"}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bundle=$work/quasar-board
mkdir -p "$bundle/wheels" "$work/source"

# The source, as it is committed: the board compiles the engine for itself.
git -C "$root" archive HEAD | tar -x -C "$work/source"
for file in "$root"/overlays/*/*.bit "$root"/overlays/*/*.hwh "$root"/overlays/*/SHA256SUMS; do
    [ -e "$file" ] && cp "$file" "$work/source/overlays/$(basename "$(dirname "$file")")/"
done
python3=${PYTHON:-python3}
if ! "$python3" -c 'import setuptools, cffi' 2>/dev/null; then # Python 3.12 and newer lack setuptools
    "$python3" -m venv "$work/venv"
    python3=$work/venv/bin/python
    "$python3" -m pip install --quiet --disable-pip-version-check setuptools cffi
fi
(cd "$work/source" && "$python3" setup.py -q sdist --dist-dir "$bundle/wheels")

# What it needs, for the board's Python and processor; PYNQ's image has numpy and more, of which
# install.sh takes what is there. Packages for building come along: pip fetches none on the board.
tags=""
for glibc in 2_17 2_28 2_31 2_34 2_35; do
    tags="$tags --platform manylinux_${glibc}_$machine"
done
# shellcheck disable=SC2086
$pip download --quiet --disable-pip-version-check --only-binary=:all: $tags \
    --platform "manylinux2014_$machine" --python-version "$python" --implementation cp \
    --dest "$bundle/wheels" 'numpy==1.26.4' 'pillow>=10' 'cffi>=1.15' 'click>=8.1' 'tqdm>=4.60' \
    'safetensors>=0.4' 'pycparser<3' 'setuptools>=77,<=80' wheel

cp "$root/tools/board/install.sh" "$root/tools/board/uninstall.sh" "$bundle/"
printf 'machine=%s\npython=%s\n' "$machine" "$python" > "$bundle/made-for"
(cd "$bundle" && find . -type f ! -name SHA256SUMS -print0 | sort -z | xargs -0 sha256sum > SHA256SUMS)
tar -czf "$output" -C "$work" quasar-board
echo "$output: $(du -h "$output" | cut -f1), for Python $python on $machine"
