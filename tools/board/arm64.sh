#!/bin/sh
# Quasar on the board's processor, emulated: a bare arm64 Debian 12 under qemu-user, as a Cortex-A53.
#   tools/board/arm64.sh [--folder DIR] [--again] [--list] [STEP...]
# By default all steps. A step that passed is not done again until the sources change, or --again.
# Needs root, binfmt_misc, qemu-user-static and debootstrap, and on this machine an environment with
# Quasar (PYTHON, by default .venv/bin/python), whose logits are the ones to compare with.
# Logs and results are in DIR, by default ~/.cache/quasar/arm64. Emulation says nothing of speed.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
checkout=$(cd "$here/../.." && pwd)
release=bookworm
folder=${XDG_CACHE_HOME:-$HOME/.cache}/quasar/arm64
python=${PYTHON:-$checkout/.venv/bin/python}
environment=/usr/local/share/pynq-venv # where PYNQ's images have it
patience=20 # times the tests' limits for a process
steps="root source infer logits engine runtime cli install board"

usage() {
    echo "usage: $0 [--folder DIR] [--again] [--list] [STEP...]; steps: $steps" >&2
    exit 2
}
fail() {
    echo "arm64.sh: $1" >&2
    exit 1
}
has() {
    case " $1 " in *" $2 "*) return 0 ;; *) return 1 ;; esac
}
inside() { python3 "$here/emulated_root.py" run "$root" "$1"; }

# A bare system: what `debootstrap --variant=minbase` gives, and make. dpkg need not wait for the disk.
step_root() {
    rm -rf "$root"
    mirror=$(python3 "$here/emulated_root.py" mirror)
    debootstrap --foreign --variant=minbase --arch=arm64 "$release" "$root.new" "$mirror"
    mv "$root.new" "$root"
    inside "/debootstrap/debootstrap --second-stage"
    echo "deb $mirror $release main" > "$root/etc/apt/sources.list"
    echo force-unsafe-io > "$root/etc/dpkg/dpkg.cfg.d/emulated"
    inside "apt-get update -qq; apt-get install -qq -y --no-install-recommends make"
}

# The checkout, without what it ignores. Files keep their times, so that make builds nothing twice.
step_source() {
    mkdir -p "$root/quasar"
    list() { git -C "$checkout" ls-files -z --cached --others --exclude-standard; }
    list | tr '\0' '\n' | sort > "$folder/source.new"
    if [ -e "$folder/source" ]; then
        comm -23 "$folder/source" "$folder/source.new" | (cd "$root/quasar" && xargs -r rm -f --)
    fi
    list | tar -c -C "$checkout" --null -T - | tar -x -C "$root/quasar"
    mv "$folder/source.new" "$folder/source"
}

step_infer() { inside "cd /quasar; make infer"; }

# Every model's answer to every example: the same bytes as this machine's engine.
step_logits() {
    PYTHONPATH=$checkout "$python" "$here/logits.py" > "$folder/logits-here"
    inside "cd /quasar; .venv/bin/python tools/board/logits.py" > "$folder/logits-arm64"
    [ -s "$folder/logits-here" ] || fail "this machine's engine gave no logits"
    diff -u "$folder/logits-here" "$folder/logits-arm64" || fail "the logits differ"
    echo "$(grep -c . "$folder/logits-arm64") answers, all logits equal; SHA-256 of the list:" \
        "$(sha256sum < "$folder/logits-arm64" | cut -c 1-64)"
}

pytest_for() { # the folder of an environment: pytest and what the tests need, but torch
    inside "cd /quasar
        .venv/bin/python -m pip install --quiet packaging
        .venv/bin/python tools/requirements.py test | grep -Ev '^(ruff|mypy)' > $1/requirements.txt
        $1/bin/python -m pip install --quiet -r $1/requirements.txt"
}

# Tests by an environment's Python, file by file: one that passed is not run again until the sources
# change, so that a step of hours can be interrupted. The last line is the files' sum.
run_tests() { # ENVIRONMENT FILE-OR-FOLDER...
    venv=$1
    shift
    files=$(cd "$checkout" && for each; do find "$each" -name 'test_*.py' | sort; done)
    pytest_for "$venv"
    failed=""
    for file in $files; do
        mark=$(mark_of "$file")
        if [ -n "$again" ] || ! is_done "$mark"; then
            echo "$file" >&2
            code=0
            inside "cd /quasar; PATIENCE=$patience PYTHONPATH=. $venv/bin/python -m pytest $file" \
                > "$folder/log/$mark.txt" 2>&1 || code=$?
            cat "$folder/log/$mark.txt" >&2
            [ $code != 5 ] || code=0 # 5: the whole file is skipped
            [ $code = 0 ] || failed="$failed $file"
            [ $code != 0 ] || state "$mark" > "$folder/done/$mark"
        fi
    done
    [ -z "$failed" ] || fail "failed:$failed"
    for file in $files; do tail -n 1 "$folder/log/$(mark_of "$file").txt"; done | awk '
        { for (i = 2; i <= NF; i++) if ($i ~ /^(passed|skipped)/) n[substr($i, 1, 6)] += $(i - 1) }
        END { print NR " files: " n["passed"] + 0 " passed, " n["skippe"] + 0 " skipped" }'
}
mark_of() { echo "$(basename "$venv")-$(basename "$1" .py)"; }

# The kernels first: bytes against the reference, the program checker, pictures.
step_engine() {
    run_tests /quasar/.venv tests/runtime/devices/test_native_bytes.py \
        tests/runtime/devices/test_native_check.py tests/runtime/devices/test_native_device.py \
        tests/runtime/model/test_zoo_bytes.py tests/runtime/images/test_images.py \
        tests/runtime/isa/test_arithmetic.py
}

# The runtime's: what needs neither torch, a simulator of the RTL, nor ruff.
step_runtime() {
    run_tests /quasar/.venv tests/runtime/session/test_session.py tests/runtime/doctor/test_doctor.py \
        tests/runtime/devices/test_reference.py tests/runtime/isa/test_program.py \
        tests/runtime/compiler/test_compiler.py tests/runtime/compiler/test_packing.py \
        tests/runtime/model/test_model_file.py tests/runtime/isa/test_overlay.py \
        tests/runtime/bitstream/test_overlay_package.py tests/runtime/measure/test_power.py \
        tests/runtime/model/test_validate.py tests/runtime/model/test_zoo.py \
        tests/runtime/isa/test_interface.py tests/runtime/measure/test_bench.py \
        tests/runtime/measure/test_evaluate.py tests/runtime/images/test_datasets.py \
        tests/runtime/test_files.py tests/runtime/session/test_arena.py \
        tests/runtime/session/test_display.py tests/runtime/isa/test_tables.py \
        tests/runtime/bitstream/test_hwh.py tests/repository/test_public_names.py \
        tests/repository/test_board_install.py
}

step_cli() { run_tests /quasar/.venv tests/cli; }

# PYNQ's environment where its images have it, without the libraries for video and audio, which would
# be built for this processor: nothing here uses them.
pynq_environment() {
    inside "[ ! -e $environment/complete ] || exit 0
        python3 -m venv $environment
        $environment/bin/pip install --quiet wheel
        PYNQ_BUILD_ARCH=none $environment/bin/pip install --quiet pynq==4.0.0 numpy==1.26.4 \
            'pycparser<3' 'setuptools<=80'
        printf '#!/bin/bash\nsource $environment/bin/activate\n' > /etc/profile.d/pynq_venv.sh
        touch $environment/complete"
}

# Bundle (made on this machine), install, doctor, an answer, uninstall: as on a board.
step_install() {
    pynq_environment
    bundle
    inside "tar xzf /root/quasar-board.tar.gz -C /root
        $environment/bin/pip list --format=freeze > /root/before
        /root/quasar-board/install.sh
        cd /
        quasar doctor
        quasar infer /quasar/examples/chelsea.jpg
        /usr/local/share/quasar/uninstall.sh
        $environment/bin/pip list --format=freeze | diff /root/before -
        ! [ -e /usr/local/bin/quasar ]
        echo 'nothing is left of it'"
}

bundle() {
    PIP="$python -m pip" PYTHON=$python "$here/bundle.sh" --python 3.11 --machine aarch64 \
        --output "$root/root/quasar-board.tar.gz"
}

# The driver's tests over the simulated board. An environment beside PYNQ's has pytest, so that PYNQ's
# stays as its images have it.
step_board() {
    pynq_environment
    venv=/quasar/.venv-pynq4
    inside "[ -e $venv/complete ] || python3 -m venv --clear $venv
        echo $environment/lib/python3.11/site-packages > $venv/lib/python3.11/site-packages/pynq.pth"
    pytest_for $venv
    inside "touch $venv/complete"
    run_tests $venv tests/board
}

# Run a step with its output in a log; its time and last line are the result.
perform() {
    started=$(date +%s)
    log=$folder/log/$1.txt
    echo "$1: log in $log"
    set +e # in a condition, -e would not hold inside the step
    (set -e; "step_$1") > "$log" 2>&1
    code=$?
    set -e
    if [ "$code" = 0 ]; then
        seconds=$(($(date +%s) - started))
        echo "$1: $seconds s (emulated): $(tail -n 1 "$log")" | tee "$folder/results/$1"
        state "$1" > "$folder/done/$1"
    else
        rm -f "$folder/done/$1"
        tail -n 20 "$log" >&2
        fail "step $1 failed; its log is $log"
    fi
}

# What a step rests on: the root on nothing, the others on the sources.
state() {
    [ "$1" != root ] || { echo root; return; }
    set -- quasar_runtime tests tools model_zoo overlays examples setup.py pyproject.toml Makefile
    {
        git -C "$checkout" ls-files -s -- "$@"
        git -C "$checkout" diff HEAD -- "$@"
    } | sha256sum
}
is_done() { [ -e "$folder/done/$1" ] && [ "$(cat "$folder/done/$1")" = "$(state "$1")" ]; }

again=""
named=""
while [ $# -gt 0 ]; do
    case $1 in
        --folder) [ $# -ge 2 ] || usage; folder=$2; shift ;;
        --again) again=yes ;;
        --list) echo "$steps" | tr ' ' '\n'; exit 0 ;;
        -*) usage ;;
        *) has "$steps" "$1" || usage; named="$named $1" ;;
    esac
    shift
done
root=$folder/root
[ "$(id -u)" = 0 ] || fail "it makes a root file system and mounts; run it as root"
for tool in debootstrap qemu-aarch64-static unshare; do
    command -v "$tool" > /dev/null ||
        fail "$tool is missing; apt-get install debootstrap qemu-user-static util-linux"
done
[ -x "$python" ] || fail "$python is missing; make infer, or set PYTHON to a Python with Quasar"
mkdir -p "$folder/log" "$folder/done" "$folder/results"
folder=$(cd "$folder" && pwd)
root=$folder/root

for step in $steps; do
    has "${named:-$steps}" "$step" || continue
    if [ -z "$again" ] && is_done "$step"; then
        cat "$folder/results/$step"
    else
        perform "$step"
    fi
done
