#!/bin/sh
# Install Quasar on a board with PYNQ, without internet, from the folder in which this file lies
# (made by bundle.sh):
#   sudo quasar-board/install.sh
# Everything goes into PYNQ's own environment. What is added is written down, so that uninstall.sh
# takes away that and nothing else.
#   PYNQ_VENV    PYNQ's environment, by default that of /etc/profile.d/pynq_venv.sh
#   QUASAR_ROOT  where etc and usr/local are, by default /
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=${QUASAR_ROOT:-}
share=$root/usr/local/share/quasar
bin=$root/usr/local/bin
fail() {
    echo "install.sh: $1" >&2
    exit 1
}

[ -n "$root" ] || [ "$(id -u)" = 0 ] || fail "PYNQ's environment belongs to root; use sudo"
(cd "$here" && sha256sum --quiet -c SHA256SUMS) || fail "the bundle is damaged; copy it again"
# shellcheck disable=SC1091
. "$here/made-for"
found=$(uname -m)
# shellcheck disable=SC2154
[ "$found" = "$machine" ] || fail "this is $found, the bundle is for $machine; bundle.sh --machine"

profile=$root/etc/profile.d
if [ -z "${PYNQ_VENV:-}" ] && [ -r "$profile/pynq_venv.sh" ]; then
    # By bash: the file of PYNQ's images says `source`, which Ubuntu's and Debian's sh does not know.
    PYNQ_VENV=$(bash -c '. "$1" >/dev/null; echo "${VIRTUAL_ENV:-}"' bash "$profile/pynq_venv.sh")
fi
[ -n "${PYNQ_VENV:-}" ] || fail "PYNQ's environment was not found; set PYNQ_VENV to its folder"
env_python=$PYNQ_VENV/bin/python3
[ -x "$env_python" ] || fail "$PYNQ_VENV has no bin/python3; set PYNQ_VENV to PYNQ's environment"
version=$("$env_python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
# shellcheck disable=SC2154
[ "$version" = "$python" ] ||
    fail "PYNQ has Python $version, the bundle is for $python; make one with bundle.sh --python $version"
command -v "${CC:-gcc}" >/dev/null || fail "there is no C compiler; apt install gcc"
"$env_python" -c 'import os, sys, sysconfig
sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' ||
    fail "Python's headers are missing; apt install python$version-dev"

frozen() { "$env_python" -m pip list --format=freeze --disable-pip-version-check | sort; }
mkdir -p "$share" "$bin"
before=$(mktemp)
frozen > "$before"
# Nothing that PYNQ brought changes: what is there satisfies Quasar, and the engine is compiled in an
# environment of its own.
"$env_python" -m pip install --quiet --disable-pip-version-check --no-index \
    --find-links "$here/wheels" "$here"/wheels/quasar*.tar.gz
# Packages that are there now and were not: a second run keeps those of the first.
{
    cat "$share/installed" 2>/dev/null || true
    frozen | cut -d= -f1 | while read -r name; do
        grep -q "^$name==" "$before" || echo "$name"
    done
    echo quasar-vit
} | sort -u > "$share/installed.new"
mv "$share/installed.new" "$share/installed"
rm -f "$before"
cp "$here/uninstall.sh" "$share/uninstall.sh"
echo "$PYNQ_VENV" > "$share/environment"

# sudo drops what PYNQ needs; these commands bring it along. XRT's own set-up is for bash.
for command in quasar quasar-infer; do
    {
        echo '#!/bin/bash'
        echo '# written by install.sh of Quasar'
        echo "[ -r $profile/xrt_setup.sh ] && . $profile/xrt_setup.sh >/dev/null"
        echo "exec \"$PYNQ_VENV/bin/$command\" \"\$@\""
    } > "$bin/$command"
    chmod 755 "$bin/$command"
done
echo "installed into $PYNQ_VENV; now: sudo quasar doctor"
echo "to remove it again: sudo $share/uninstall.sh"
