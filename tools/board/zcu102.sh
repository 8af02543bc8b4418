#!/bin/sh
# The ZCU102 booted, in emulation: QEMU's xlnx-zcu102, Debian's arm64 kernel with its device tree of
# the board, and as root file system the arm64 system of arm64.sh with Quasar, installed by install.sh.
#   tools/board/zcu102.sh [--folder DIR] [--output FILE] [STEP...]
# Steps: kernel (packages of Debian), module (the UIO driver that Debian's kernel lacks), system (the
# root file system), boot, compare. Writes a transcript; DIR is arm64.sh's, whose steps it asks for.
# This is no board: there is no fabric, and times are the emulator's.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
checkout=$(cd "$here/../.." && pwd)
folder=${XDG_CACHE_HOME:-$HOME/.cache}/quasar/arm64
output=""
all="kernel module system boot compare"
python=${PYTHON:-$checkout/.venv/bin/python}
environment=/usr/local/share/pynq-venv

usage() {
    echo "usage: $0 [--folder DIR] [--output FILE] [STEP...]; steps: $all" >&2
    exit 2
}
fail() {
    echo "zcu102.sh: $1" >&2
    exit 1
}
inside() { python3 "$here/emulated_root.py" run "$root" "$1"; }

steps=""
while [ $# -gt 0 ]; do
    case $1 in
        --folder) [ $# -ge 2 ] || usage; folder=$2; shift ;;
        --output) [ $# -ge 2 ] || usage; output=$2; shift ;;
        kernel | module | system | boot | compare) steps="$steps $1" ;;
        *) usage ;;
    esac
    shift
done
[ "$(id -u)" = 0 ] || fail "it makes a root file system and mounts; run it as root"
for tool in qemu-system-aarch64 dtc fdtoverlay fdtput cpio dpkg-deb; do
    command -v "$tool" > /dev/null ||
        fail "$tool is missing; apt-get install qemu-system-arm device-tree-compiler cpio"
done
PYTHON=$python "$here/arm64.sh" --folder "$folder" root source infer install
folder=$(cd "$folder" && pwd)
root=$folder/root
board=$folder/zcu102
mkdir -p "$board"

# Debian's kernel: the package that linux-image-arm64 stands for in the root's release.
step_kernel() {
    inside "apt-get update -qq
        apt-get install -qq -y --no-install-recommends kmod
        cd /root; rm -f linux-image-*.deb
        apt-get download \$(apt-cache depends linux-image-arm64 | sed -n 's/.*Depends: //p')"
    rm -rf "$board/kernel"
    dpkg-deb -x "$root"/root/linux-image-*.deb "$board/kernel"
}

# Debian's kernel has UIO, but not the driver for nodes of a device tree: it is built from the source
# that belongs to it.
step_module() {
    version=$(release)
    name=uio_pdrv_genirq
    inside "apt-get install -qq -y --no-install-recommends linux-headers-$version
        cd /root; [ -e linux-source-6.1_*.deb ] || apt-get download linux-source-6.1"
    rm -rf "$root/root/uio"
    mkdir "$root/root/uio"
    dpkg-deb --fsys-tarfile "$root"/root/linux-source-6.1_*.deb |
        tar -xO ./usr/src/linux-source-6.1.tar.xz |
        tar -xJO "linux-source-6.1/drivers/uio/$name.c" > "$root/root/uio/$name.c"
    echo "obj-m := $name.o" > "$root/root/uio/Makefile"
    inside "make -C /usr/src/linux-headers-$version M=/root/uio modules"
    cp "$root/root/uio/$name.ko" "$board/"
}

# Quasar by the board's own script, in a root file system that fits into the emulated memory.
step_system() {
    inside "rm -rf /root/quasar-board; tar xzf /root/quasar-board.tar.gz -C /root
        /root/quasar-board/install.sh"
    rm -rf "$board/system"
    mkdir "$board/system"
    tar -c -C "$root" --one-file-system --exclude=./quasar --exclude='./root/*' --exclude='./var/*' \
        --exclude='./usr/share/doc' --exclude='./usr/share/man' --exclude='./usr/share/locale' \
        --exclude='./usr/lib/gcc' --exclude='./usr/src' --exclude='./usr/include' \
        --exclude='./usr/lib/linux-kbuild*' --exclude='./boot/*' --exclude='./tmp/*' . |
        tar -x -C "$board/system"
    inside "/usr/local/share/quasar/uninstall.sh"
    mkdir -p "$board/system/root"
    cp "$board/kernel/lib/modules/$(release)/kernel/drivers/uio/uio.ko" "$board/system/root/"
    cp "$checkout"/examples/*.jpg "$here/logits.py" "$board/system/root/"
    [ ! -e "$board/uio_pdrv_genirq.ko" ] ||
        cp "$board/uio_pdrv_genirq.ko" "$board/system/root/"
    cp "$here/zcu102_init.sh" "$board/system/init"
    chmod 755 "$board/system/init"
    (cd "$board/system" && find . | cpio -o -H newc --quiet | gzip -1) > "$board/system.cpio.gz"
    rm -rf "$board/system"
}

release() { basename "$board"/kernel/boot/vmlinuz-* | sed 's/^vmlinuz-//'; }

# As Debian has it, and with the node for the fabric's interrupt. Debian's tree has no symbols, so
# that the interrupt controller's name is added for the overlay.
device_trees() {
    cp "$board"/kernel/usr/lib/linux-image-*/xilinx/zynqmp-zcu102-rev1.0.dtb "$board/plain.dtb"
    cp "$board/plain.dtb" "$board/named.dtb"
    gic=$(dtc -q -I dtb -O dts "$board/plain.dtb" | sed -n 's/^\t*\(interrupt-controller@f9010000\) {/\1/p')
    parent=$(fdtget -l "$board/plain.dtb" / | while read -r node; do
        [ -z "$(fdtget -l "$board/plain.dtb" "/$node" | grep "^$gic\$")" ] || echo "/$node"
    done)
    fdtput -p -t s "$board/named.dtb" /__symbols__ gic "$parent/$gic"
    dtc -q -@ -I dts -O dtb -o "$board/fabric.dtbo" "$here/fabric.dtso"
    fdtoverlay -i "$board/named.dtb" -o "$board/fabric.dtb" "$board/fabric.dtbo"
}

# No console: without the boot firmware's clocks the UART's driver does not start, but the kernel's
# early one works. 2 GB, since more stops Debian's kernel in this emulation before it prints a word.
boot() {
    timeout 3600 qemu-system-aarch64 -M xlnx-zcu102 -m 2G -smp 4 -no-reboot \
        -audiodev none,id=none -display none -monitor none -serial stdio \
        -kernel "$board"/kernel/boot/vmlinuz-* -dtb "$board/$1.dtb" \
        -initrd "$board/system.cpio.gz" -append "earlycon=cdns,mmio,0xff000000,115200n8 keep_bootcon \
rdinit=/init cma=128M printk.devkmsg=on" < /dev/null > "$board/$1.log" 2>&1 ||
        fail "QEMU failed; see $board/$1.log"
    grep -q 'quasar: end' "$board/$1.log" || fail "the machine did not get to its end: $board/$1.log"
}

step_boot() {
    device_trees
    boot plain
    boot fabric
}

# The log's lines that are the commands'; times of answers are the emulator's and left out.
said() {
    tr -d '\r' < "$board/$1.log" | sed -n 's/^\[[ 0-9.]*\] quasar: \{0,1\}//p' |
        sed -e '/^end$/d' -e 's/ ([0-9.]* ms)/ (emulated)/'
}

transcript() {
    cat << END
EMULATION, NOT A BOARD: QEMU's machine xlnx-zcu102 (its Cortex-A53s, no programmable logic), with
Debian's kernel $(release) and that package's zynqmp-zcu102-rev1.0.dtb. No ZCU102 has run this.
PYNQ 4.0.0 and Quasar lie in the environment where PYNQ's images have it; Quasar by install.sh.
Written by tools/board/zcu102.sh (make zcu102).

==== Debian's device tree

END
    said plain
    cat << END
==== With tools/board/fabric.dtso, the overlay of docs/board.md, in the device tree

END
    said fabric
}

# The logits of the emulated board are this machine's.
step_compare() {
    said plain | grep -E '^[a-z0-9-]+ [a-z]+\.jpg [0-9a-f]{64} [0-9a-f]{64}$' > "$board/logits"
    PYTHONPATH=$checkout "$python" "$here/logits.py" > "$board/logits-here"
    diff -u "$board/logits-here" "$board/logits" || fail "the logits differ"
    transcript > "${output:-$board/transcript.txt}"
    echo "$(grep -c . "$board/logits") answers (emulated), all logits equal this machine's;" \
        "transcript: ${output:-$board/transcript.txt}"
}

for step in ${steps:-$all}; do
    echo "zcu102: $step"
    "step_$step"
done
