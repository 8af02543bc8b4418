#!/bin/sh
# Remove what install.sh added to PYNQ's environment, and nothing else.
#   sudo /usr/local/share/quasar/uninstall.sh
#   QUASAR_ROOT  as it was for install.sh
set -eu

root=${QUASAR_ROOT:-}
share=$root/usr/local/share/quasar
fail() {
    echo "uninstall.sh: $1" >&2
    exit 1
}
[ -n "$root" ] || [ "$(id -u)" = 0 ] || fail "PYNQ's environment belongs to root; use sudo"
[ -r "$share/installed" ] || fail "$share/installed is missing: nothing was installed by install.sh"
environment=$(cat "$share/environment")
xargs "$environment/bin/python3" -m pip uninstall --quiet --yes --disable-pip-version-check \
    < "$share/installed"
for command in quasar quasar-infer; do
    file=$root/usr/local/bin/$command
    if grep -q 'written by install.sh of Quasar' "$file" 2>/dev/null; then
        rm -f "$file"
    fi
done
rm -rf "$share"
echo "removed from $environment"
