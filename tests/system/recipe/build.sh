#!/bin/bash
# Build the disk of the virtual Pi. Wants root, for debootstrap and for what chroot mounts.
# usage: build.sh ARCHITECTURE INPUTS OUTPUTS
#   INPUTS   folder with wheels/ (for the guest's Python) and pictures/ (for the guest's camera)
#   OUTPUTS  empty folder: gets disk.ext4, vmlinuz, initrd.img, ssh_host_ed25519_key.pub
set -euo pipefail

# Mounts and processes are in namespaces of their own and vanish with them, however this ends.
if [ "${IN_NAMESPACE:-}" != 1 ]; then
    IN_NAMESPACE=1 exec unshare --mount --pid --fork --kill-child --mount-proc "$0" "$@"
fi

architecture=$1 inputs=$2 outputs=$3
here=$(cd "$(dirname "$0")" && pwd)
root=$outputs/root
suite=trixie
disk_size=4G
export PATH="$PATH:/usr/sbin:/sbin" DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 HOME=/root
umask 022

# Steps go to stdout, what the programs say to stderr.
exec 3>&1 1>&2
step() {
    echo "$SECONDS s: $1" >&3
}

clean_up() {
    umount -R "$root/dev" "$root/proc" "$root/run" 2>/dev/null || true
    rm -rf --one-file-system "$root"
}
trap clean_up EXIT

in_guest() {
    chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
        DEBIAN_FRONTEND=noninteractive "$@"
}

# Let the kernel run the other architecture's programs with qemu-user-static.
emulate() {
    local binfmt=/proc/sys/fs/binfmt_misc program
    case $1 in
        arm64) program=qemu-aarch64 ;;
        amd64) program=qemu-x86_64 ;;
    esac
    [ -e $binfmt/register ] || mount -t binfmt_misc binfmt_misc $binfmt
    [ -e $binfmt/$program ] || cat /usr/lib/binfmt.d/$program.conf >$binfmt/register
}

step "debootstrap $suite, $architecture"
if [ "$architecture" = "$(dpkg --print-architecture)" ]; then
    debootstrap --variant=minbase --arch="$architecture" "$suite" "$root"
else
    emulate "$architecture"
    debootstrap --variant=minbase --arch="$architecture" --foreign "$suite" "$root"
    step "second stage, emulated"
    in_guest /debootstrap/debootstrap --second-stage
fi

step "packages"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/run"
cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
# No service starts in a chroot; no initrd is wanted before its settings are there.
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"
cp -R "$here/guest/." "$root/"
# Nothing is to be kept that a sudden end of this script could tear.
echo force-unsafe-io >"$root/etc/dpkg/dpkg.cfg.d/unsafe-io"
# The host's proxy and the like; not its keys, nor its hooks.
[ -z "$(apt-config dump Acquire::http::Proxy)" ] ||
    apt-config dump Acquire::http::Proxy >"$root/etc/apt/apt.conf.d/90build"
in_guest apt-get update --quiet=2
grep -v -e '^#' -e '^$' "$here/packages.txt" | xargs chroot "$root" /usr/bin/env \
    DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 \
    apt-get install --yes --quiet=2 --no-install-recommends \
    -o Dpkg::Options::=--force-confold "linux-image-$architecture"

step "picamera2, for the system's Python as Raspberry Pi OS has it"
mkdir "$root/tmp/wheels"
cp "$inputs"/wheels/* "$here/wheels.txt" "$root/tmp/wheels/"
in_guest python3 -m pip install --quiet --break-system-packages --root-user-action ignore \
    --no-index --find-links /tmp/wheels --no-deps --no-build-isolation --require-hashes \
    -r /tmp/wheels/wheels.txt
rm -r "$root/tmp/wheels"
# What a deployment asks for is the package: one with nothing in it, as the files are there.
mkdir -p "$root/tmp/picamera2/DEBIAN"
cat >"$root/tmp/picamera2/DEBIAN/control" <<'END'
Package: python3-picamera2
Version: 0.3.38-0virtual1
Architecture: all
Maintainer: virtual-pi <root@virtual-pi>
Depends: python3-av, python3-libcamera, python3-numpy, python3-pil
Description: stands for the picamera2 that pip has installed
END
in_guest dpkg-deb --build /tmp/picamera2 /tmp/picamera2.deb
in_guest dpkg --install /tmp/picamera2.deb
rm -r "$root/tmp/picamera2" "$root/tmp/picamera2.deb"

step "settings"
cp -R "$here/guest/." "$root/"  # again, over what packages brought
mkdir -p "$root/srv/pictures" "$root/srv/camera"
cp "$inputs"/pictures/* "$root/srv/pictures/"
ln -s ../pictures/chelsea.jpg "$root/srv/camera/0.jpg"
# As on a device: an address, a name and a time, and no package index to be reached.
echo virtual-pi >"$root/etc/hostname"
printf '127.0.0.1 localhost\n127.0.1.1 virtual-pi\n10.0.2.2 host\n' >"$root/etc/hosts"
: >"$root/etc/resolv.conf"
in_guest systemd-machine-id-setup --commit 2>/dev/null || in_guest systemd-machine-id-setup
in_guest systemctl enable --quiet systemd-networkd.service
# Emulated, they take time for nothing. A test starts a broker of its own.
in_guest systemctl mask --quiet serial-getty@ttyS0.service serial-getty@ttyAMA0.service \
    getty@tty1.service apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer fstrim.timer
in_guest systemctl disable --quiet mosquitto.service
in_guest systemctl set-default --quiet multi-user.target
in_guest update-initramfs -u
in_guest apt-get clean
rm -rf "$root"/var/lib/apt/lists/* "$root"/usr/sbin/policy-rc.d "$root"/var/log/journal \
    "$root"/etc/apt/apt.conf.d/90build "$root"/etc/dpkg/dpkg.cfg.d/unsafe-io

# Not to be done at the first boot: it is up to date.
touch "$root/etc/.updated" "$root/var/.updated"

step "disk"
umount -R "$root/dev" "$root/proc" "$root/run"
cp "$root/etc/ssh/ssh_host_ed25519_key.pub" "$outputs/"
cp "$root"/boot/vmlinuz-* "$outputs/vmlinuz"
cp "$root"/boot/initrd.img-* "$outputs/initrd.img"
mke2fs -q -t ext4 -L rootfs -d "$root" "$outputs/disk.ext4" "$disk_size"
step "done"
