#!/bin/sh
# Make sure that programs are installed: by apt if that is permitted, else say what to install.
# usage: need.sh PROGRAM[:PACKAGE]…   (without a package, it has the program's name)
PATH="$PATH:/usr/sbin:/sbin:/usr/local/sbin"

missing=""
for need in "$@"; do
    command -v "${need%:*}" >/dev/null || missing="$missing ${need#*:}"
done
[ -z "$missing" ] && exit 0

if [ "$(id -u)" = 0 ]; then
    as_root=""
elif sudo -n true 2>/dev/null; then
    as_root="sudo -n"
else
    as_root="no"
fi

if [ "$as_root" != no ] && command -v apt-get >/dev/null; then
    echo "installing$missing"
    export DEBIAN_FRONTEND=noninteractive
    # shellcheck disable=SC2086 - both are lists of words
    $as_root apt-get install --yes --quiet=2 $missing >/dev/null 2>&1 ||
        { $as_root apt-get update --quiet=2 && $as_root apt-get install --yes --quiet=2 $missing; } >/dev/null 2>&1
fi

for need in "$@"; do
    if ! command -v "${need%:*}" >/dev/null; then
        echo "not installed:$missing. Install with: sudo apt install$missing" >&2
        exit 1
    fi
done
