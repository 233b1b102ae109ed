#!/bin/sh
# Install or update edgeclassifier on this Raspberry Pi, by the same role that deploys to a fleet.
# Run it from a checkout of the project, as root:
#
#   sudo deploy/install.sh [--config FILE] [OPTION…]
#
#   --config FILE         the configuration (default: what is installed, else the defaults)
#   --no-picamera2        the camera is a USB or network camera, or files
#   --check               show what would change, and change nothing
#   --reinstall           rebuild the release, if files of it are damaged
#   --rollback            go back to the previous release
#   --uninstall [--purge] remove it; --purge removes configuration and state, too
#   -e NAME=VALUE         a variable of the role, see roles/edgeclassifier/meta/argument_specs.yml
#
# It needs the Internet, or a package index, once for each new set of dependencies.
set -eu

fail() {
    echo "install.sh: $1" >&2
    exit "${2:-1}"
}

playbook=site.yml
config="" purge=""
folder=$(cd "$(dirname "$0")" && pwd)
caller=$(pwd)
count=$#
while [ "$count" -gt 0 ]; do
    option=$1
    shift
    count=$((count - 1))
    case "$option" in
    --config | -e)
        [ "$count" -gt 0 ] || fail "$option needs a value" 2
        if [ "$option" = -e ]; then
            set -- "$@" -e "$1"
        else
            case "$1" in /*) config=$1 ;; *) config=$caller/$1 ;; esac
            [ -f "$config" ] || fail "$1: no such file" 2
            set -- "$@" -e "edgeclassifier_config_file='$config'"
        fi
        shift
        count=$((count - 1))
        ;;
    --no-picamera2) set -- "$@" -e '{"edgeclassifier_picamera2": false}' ;;
    --check) set -- "$@" --check --diff ;;
    --reinstall) set -- "$@" -e '{"edgeclassifier_reinstall": true}' ;;
    --rollback) playbook=rollback.yml ;;
    --uninstall) playbook=uninstall.yml ;;
    --purge) purge=yes ;;
    --help | -h)
        sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"
        exit 0
        ;;
    *) fail "$option: unknown option, see --help" 2 ;;
    esac
done
[ -z "$purge" ] || set -- "$@" -e '{"edgeclassifier_purge": true}'
[ "$(id -u)" = 0 ] || fail "run it as root: sudo $0"

python=/usr/bin/python3
$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
    fail "Python 3.11 or later is needed: install Raspberry Pi OS (64-bit), Bookworm or Trixie"
$python -c 'import ensurepip' 2>/dev/null || fail "run 'apt install python3-venv' first"

# The tools of the deployment, pinned; the daemon gets an environment of its own.
tools=$folder/../.venv-deploy
lock=$folder/requirements/deploy.txt
# After an upgrade of the system they are for a Python that is gone.
if ! cmp -s "$lock" "$tools/ready" || ! "$tools/bin/python" -c 'import ansible' 2>/dev/null; then
    echo "setting up $(basename "$tools") from $lock"
    rm -rf "$tools"
    $python -m venv "$tools"
    "$tools/bin/python" -m pip install --quiet --disable-pip-version-check --no-input \
        --root-user-action ignore --require-hashes -r "$lock"
    cp "$lock" "$tools/ready"
fi

cd "$folder"
# SSH and sudo bring the locale of another machine, and Ansible does not start with one that is not here.
export LC_ALL=C.UTF-8
PATH="$tools/bin:$PATH" exec ansible-playbook --inventory inventory.local.yml "$playbook" "$@"
