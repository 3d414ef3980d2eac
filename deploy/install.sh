#!/bin/sh
# Installs edgecnn on a board, for this user, in a virtual environment of its own. Run it again to bring it up to date.
#
#     sh install.sh [--wheelhouse DIR] [--camera] [--serve]
#
#   --wheelhouse DIR   take everything from this folder, made by `edgecnn wheelhouse`, and nothing from a network;
#                      a script that lies in such a folder takes that one
#   --camera           let it see the system's packages: picamera2 comes from apt, not from pip; simplejpeg, which
#                      picamera2 uses, comes along, since Bookworm's own does not go with today's NumPy
#   --serve            also what `edgecnn serve` needs
#
# Without a wheelhouse it installs the checkout that it lies in, with the wheels of pip's index. It never calls pip
# outside its environment, and needs no root. PYTHON names another interpreter than python3.
#
#     ~/.local/lib/edgecnn/venv-*    the environment; a new one is made beside the old one
#     ~/.local/lib/edgecnn/current   a link to it, moved when the new one has shown that it works
#     ~/.local/bin/edgecnn           a link to its program
set -eu

say() { printf '%s\n' "install.sh: $*" >&2; }
fail() {
  say "error: $*"
  exit 2
}

here=$(cd -- "$(dirname -- "$0")" && pwd)
python=${PYTHON:-python3}
wheelhouse='' camera='' serve=''
while [ $# -gt 0 ]; do
  case $1 in
    --wheelhouse)
      [ $# -ge 2 ] || fail "--wheelhouse needs a folder (made by: edgecnn wheelhouse --python 3.13 --arch aarch64)"
      wheelhouse=$2
      shift
      ;;
    --camera) camera=yes ;;
    --serve) serve=yes ;;
    -h | --help)
      sed -n '2,/^set -eu/{/^set -eu/d;s/^# \{0,1\}//;p;}' "$0"
      exit 0
      ;;
    *) fail "'$1' is not known (valid: --wheelhouse DIR, --camera, --serve, --help)" ;;
  esac
  shift
done
[ -n "${HOME:-}" ] || fail "HOME is not set, so there is no place to install to; run it as the user who will use edgecnn"

# What is here: the version of Python, the bits of its pointers, its machine, whether it can make environments.
command -v "$python" >/dev/null 2>&1 || fail "there is no $python; run: sudo apt install python3 python3-venv"
facts=$("$python" -I -c '
import importlib.util as u, platform, struct, sys
bits = 8 * struct.calcsize("P")
machine = platform.machine()
if bits == 32 and machine in ("aarch64", "armv8l"):  # a 32-bit system on a 64-bit kernel
    machine = "armv7l"
venv = "yes" if u.find_spec("venv") and u.find_spec("ensurepip") else "no"
print("%d.%d" % sys.version_info[:2], bits, machine, venv, "yes" if sys.version_info >= (3, 11) else "no")
') || fail "$python does not start; mend it first: sudo apt install --reinstall python3-minimal"
# shellcheck disable=SC2086 # five words
set -- $facts
version=$1 bits=$2 machine=$3 venv=$4 new_enough=$5
[ "$new_enough" = yes ] ||
  fail "$python is $version, but edgecnn needs 3.11 or later; Raspberry Pi OS has that from Bookworm on"
if [ "$bits" = 32 ] && [ "$version" != 3.11 ]; then
  fail "$python is a 32-bit $version, for which no TFLite engine has wheels; what works: a 64-bit system, or 32-bit" \
    "Bookworm with its Python 3.11"
fi
[ "$venv" = yes ] || fail "$python has no venv module; run: sudo apt install python3-venv"
if [ -n "$camera" ]; then
  "$python" -c 'import picamera2' >/dev/null 2>&1 ||
    fail "--camera: $python has no picamera2; run: sudo apt install python3-picamera2"
fi

# What is installed.
[ -n "$wheelhouse" ] || [ ! -f "$here/requirements.txt" ] || wheelhouse=$here
if [ -n "$wheelhouse" ]; then
  list=$wheelhouse/requirements.txt
  [ -f "$list" ] || fail "--wheelhouse $wheelhouse: it has no requirements.txt; make one: edgecnn wheelhouse" \
    "--python $version --arch $machine"
  first=$(sed -n 1p "$list")
  [ "$first" = "# edgecnn for Python $version on $machine" ] ||
    fail "$wheelhouse is for '${first#\# edgecnn for }', but here is Python $version on $machine; make one: edgecnn" \
      "wheelhouse --python $version --arch $machine"
  if [ -n "$serve" ] && ! grep -q '^uvicorn==' "$list"; then
    fail "--serve: $wheelhouse has nothing for it; make one: edgecnn wheelhouse --python $version --arch $machine" \
      "--serve"
  fi
else
  checkout=$(dirname -- "$here")
  grep -qs '^name = "edgecnn"' "$checkout/pyproject.toml" ||
    fail "there is neither a wheelhouse nor a checkout around $here; give --wheelhouse DIR"
fi

home=$HOME/.local/lib/edgecnn
program=$HOME/.local/bin/edgecnn
if [ -e "$program" ] && [ ! -L "$program" ]; then
  fail "$program is there and is not from here; move it away"
fi
mkdir -p -- "$home" "${program%/*}"
exec 9>"$home/lock"
if command -v flock >/dev/null 2>&1; then
  flock -n 9 || fail "another install.sh is at work in $home; wait for it"
fi

new=$(mktemp -d "$home/venv-XXXXXXXX")
said=$(mktemp "$home/said-XXXXXXXX")
# shellcheck disable=SC2329 # called by the trap
undo() { rm -rf -- "$new" "$said"; }
trap undo EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

last_line() { # that says something
  line=$(grep . "$said" | tail -n 1)
  printf '%s' "${line:-nothing was said}"
}

# Runs a step; when it fails, the reason is one line and what was installed before is as it was.
step() {
  what=$1
  shift
  "$@" >"$said" 2>&1 && return
  reason=$(grep '^ERROR' "$said" | tail -n 1)
  fail "$what failed: ${reason:-$(last_line)}; what was installed before is as it was"
}

say "making an environment with Python $version on $machine"
step "making the environment" "$python" -m venv ${camera:+--system-site-packages} "$new"
pip() {
  "$new/bin/python" -m pip --disable-pip-version-check --no-input install --quiet --no-cache-dir "$@"
}
if [ -n "$wheelhouse" ]; then
  say "installing the wheels in $wheelhouse"
  step "installing" pip --no-index --find-links "$wheelhouse" --no-deps --only-binary :all: --require-hashes \
    --requirement "$list"
elif [ "$bits" = 32 ]; then
  # pip asks the kernel which machine this is, and a 64-bit kernel does not say that the system is a 32-bit one.
  say "installing $checkout, and what it needs from pip's index"
  "$python" -I -c '
import sys, tomllib
with open(sys.argv[1], "rb") as file:
    project = tomllib.load(file)["project"]
lines = project["dependencies"] + [line for name in sys.argv[2:] for line in project["optional-dependencies"][name]]
print(*(line.partition(";")[0] for line in lines if "!= \047armv7l\047" not in line), sep="\n")
' "$checkout/pyproject.toml" ${serve:+serve} >"$new/requirements.txt"
  step "installing" pip --only-binary :all: --requirement "$new/requirements.txt"
  step "installing" pip --no-deps "$checkout"
else
  say "installing $checkout, and what it needs from pip's index"
  step "installing" pip "$checkout${serve:+[serve]}" ${camera:+'simplejpeg>=1.8'}
fi
if [ -n "$camera" ]; then
  step "picamera2 beside edgecnn's numpy" "$new/bin/python" -c 'import picamera2'
fi
installed=$("$new/bin/edgecnn" --version 2>"$said") || fail "edgecnn does not start: $(last_line); what was installed" \
  "before is as it was"
engine='
import importlib, sys
from edgecnn.runtime.engines import LITERT, TFLITE_RUNTIME
for name in (LITERT, TFLITE_RUNTIME):
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        continue
    print(name.partition(".")[0].replace("_", "-"))
    sys.exit()
sys.exit("there is none")
'
works=$("$new/bin/python" -P -c "$engine" 2>"$said") || fail "the TFLite engine cannot be imported:" \
  "$(last_line); what was installed before is as it was"

old=$(readlink -- "$home/current" || true)
link() { # link TARGET NAME: in one step, also where NAME is a link to a folder
  rm -f -- "$2.new"
  ln -s -- "$1" "$2.new"
  "$new/bin/python" -c 'import os, sys; os.replace(sys.argv[1], sys.argv[2])' "$2.new" "$2"
}
sync # what was installed must be there after a power cut if the link to it is
trap - EXIT
trap '' INT TERM HUP # from here on it is a matter of milliseconds
link "${new##*/}" "$home/current"
link ../lib/edgecnn/current/bin/edgecnn "$program"
sync
rm -f -- "$said"
for other in "$home"/venv-* "$home"/said-*; do
  [ "$other" = "$new" ] || rm -rf -- "$other"
done
[ -z "$old" ] || say "the installation before ($old) is removed"
say "$installed is installed, with $works"
case :$PATH: in
  *":${program%/*}:"*) say "next: edgecnn classify BUNDLE IMAGE" ;;
  *) say "next: $program classify BUNDLE IMAGE (or log in again, so that ${program%/*} is in PATH)" ;;
esac
