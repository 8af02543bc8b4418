#!/bin/sh
# The first and only process of the emulated ZCU102 (zcu102.sh): runs the commands of its transcript.
# The machine has no console: what is printed goes through the kernel's log.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /run/lock /dev/shm
mount -t tmpfs tmpfs /dev/shm
hostname zcu102
cd /root

log() { while IFS= read -r line; do printf 'quasar: %s\n' "$line" > /dev/kmsg; done; }
show() { # print a command, what it prints, and its code where that is not 0
    printf '%s\n' "root@zcu102:~# $1"
    sh -c "$1" 2>&1
    code=$?
    [ "$code" = 0 ] || echo "(exit code $code)"
    echo
}

with_interrupt() {
    show "quasar doctor --quiet | grep -A 1 interrupts"
    if [ -e uio_pdrv_genirq.ko ]; then
        show "insmod uio.ko; insmod uio_pdrv_genirq.ko of_id=generic-uio"
        show "cat /sys/class/uio/uio0/name; grep fabric /proc/interrupts"
        show "quasar doctor | grep -A 1 interrupts"
    fi
}

without_interrupt() {
    show "cat /proc/device-tree/model | tr '\0' '\n'; uname -srm; nproc"
    show "quasar devices --no-build"
    show "quasar doctor"
    show "quasar infer chelsea.jpg"
    show "quasar infer --device native chelsea.jpg"
    show "quasar infer --device board chelsea.jpg"
    show "/usr/local/share/pynq-venv/bin/python3 logits.py chelsea.jpg coffee.jpg"
}

case $(tr '\0' '\n' < /proc/device-tree/compatible | head -n 1; ls /proc/device-tree) in
    *fabric@*) with_interrupt ;;
    *) without_interrupt ;;
esac 2>&1 | log
echo "quasar: end" > /dev/kmsg
echo o > /proc/sysrq-trigger
sleep 60
