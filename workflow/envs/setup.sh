#!/bin/sh
# Prepares a clone: system libraries, Python >= 3.12, uv, and the packages of uv.lock in .venv.
# Every make target calls it; when nothing has changed it returns at once.
#
#   HIFUFLOW_PYTHON=/path/to/python   builds .venv with that interpreter
#
# uv and a downloaded Python, where they are needed, are kept in .tools. Nothing else is written
# outside .venv but the caches of uv and pip and, when root, Debian packages that are missing.
set -eu
cd "$(dirname "$0")/../.."
root=$(pwd -P)
stamp=.venv/.hifuflow-setup
unfinished=.tools/unfinished
unset PYTHONPATH PYTHONHOME VIRTUAL_ENV UV_PYTHON UV_PROJECT_ENVIRONMENT

uv_minimum=0.8
python_fallback=3.13

# What the wheels load from the system (Gmsh, mostly): soname and the Debian package that has it.
libraries='libGLU.so.1 libglu1-mesa
libGL.so.1 libgl1
libX11.so.6 libx11-6
libXcursor.so.1 libxcursor1
libXext.so.6 libxext6
libXfixes.so.3 libxfixes3
libXft.so.2 libxft2
libXinerama.so.1 libxinerama1
libXrender.so.1 libxrender1
libfontconfig.so.1 libfontconfig1
libgomp.so.1 libgomp1'

say() { printf 'set-up: %s\n' "$*" >&2; }
stop() { say "$*"; exit 1; }

# --- what is here ------------------------------------------------------------------------------

# Everything .venv depends on: where it is, what it was made from, the interpreter under it.
fingerprint() {
    printf '%s\n' "$root"
    cksum uv.lock pyproject.toml workflow/envs/setup.sh
    .venv/bin/python -I -S -c 'import sys; print(sys._base_executable, sys.version)'
}

# Debian packages of the libraries that cannot be loaded; $1 is a Python, or empty.
missing_libraries() {
    if [ -n "$1" ]; then
        "$1" -I -S -c 'import ctypes, sys
for line in sys.argv[1].splitlines():
    soname, package = line.split()
    try:
        ctypes.CDLL(soname)
    except OSError:
        print(package)' "$libraries"
    else
        known=$( (ldconfig -p || /sbin/ldconfig -p) 2>/dev/null ) || known=
        printf '%s\n' "$libraries" | while read -r soname package; do
            case $known in *"$soname "*) ;; *) echo "$package" ;; esac
        done
    fi
}

# Compiles a small extension module with Python $1, as FFCx does for every form. Prints the
# Debian packages that would help.
missing_compiler() {
    "$1" -I -c 'import os, shlex, subprocess, sys, sysconfig, tempfile
cc = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
def compiles(header):
    with tempfile.TemporaryDirectory() as folder:
        source = os.path.join(folder, "probe.c")
        with open(source, "w") as stream:
            stream.write(f"#include <{header}>\nint probe(void) {{ return 0; }}\n")
        command = [*cc, "-shared", "-fPIC", "-I", sysconfig.get_path("include"), source, "-lm"]
        try:
            return subprocess.run([*command, "-o", source + ".so"], capture_output=True).returncode == 0
        except OSError:
            return False
if not compiles("math.h"):
    print("gcc libc6-dev")
if not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")):
    system = "/usr/bin/python3"
    default = os.path.realpath(system) == os.path.realpath(sys.executable)
    print("python3-dev" if default else "python%d.%d-dev" % sys.version_info[:2])'
}

# Interpreters to try, the one already in use first.
python_candidates() {
    if [ -n "${HIFUFLOW_PYTHON:-}" ]; then
        printf '%s\n' "$HIFUFLOW_PYTHON"
        return
    fi
    printf '%s\n' "$root/.venv/bin/python" python3 python3.12 python3.13 python3.14 /usr/bin/python3
    old_ifs=$IFS
    IFS=:
    for folder in $PATH; do     # pyenv puts its "shims" on PATH, next to the "versions"
        case $folder in */shims) ls -d "${folder%/shims}"/versions/3.*/bin/python3 || true ;; esac
    done 2>/dev/null
    IFS=$old_ifs
    ls -d "${PYENV_ROOT:-${HOME:-/root}/.pyenv}"/versions/3.*/bin/python3 \
        "${HOME:-/root}"/.local/share/uv/python/cpython-3.*/bin/python3 \
        .tools/python/cpython-3.*/bin/python3 /usr/local/bin/python3* /usr/bin/python3.?? \
        2>/dev/null || true
}

# The first candidate that is a 64-bit CPython >= 3.12; one that has its C headers is preferred.
find_python() {
    python_candidates | (
        spare=
        while IFS= read -r candidate; do
            found=$("$candidate" -I -c 'import os, platform, sys, sysconfig
if (sys.version_info >= (3, 12, 0, "final") and platform.python_implementation() == "CPython"
        and sys.maxsize > 2**32 and not sysconfig.get_config_var("Py_GIL_DISABLED")):
    header = os.path.join(sysconfig.get_path("include"), "Python.h")
    print(int(os.path.exists(header)), os.path.realpath(sys._base_executable))' \
                2>/dev/null </dev/null) || continue
            case $found in
                "1 "*) printf '%s\n' "${found#1 }"; exit ;;
                "0 "*) spare=${spare:-${found#0 }} ;;
            esac
        done
        printf '%s\n' "$spare"
    )
}

find_uv() {
    for candidate in "$(command -v uv || true)" "$root/.tools/uv/bin/uv" "${HOME:-/root}/.local/bin/uv"; do
        version=$("$candidate" --version 2>/dev/null) || continue
        version=${version#uv }
        oldest=$(printf '%s\n' "$uv_minimum" "${version%% *}" | sort -V | head -n 1)
        if [ "$oldest" = "$uv_minimum" ]; then
            printf '%s\n' "$candidate"
            return
        fi
    done
}

# A Python of any age that can fetch uv with pip; $1 is tried first.
find_python_with_pip() {
    for candidate in "$1" python3 /usr/bin/python3; do
        if "$candidate" -I -c 'import venv, ensurepip' 2>/dev/null \
            || "$candidate" -I -m pip --version >/dev/null 2>&1; then
            printf '%s\n' "$candidate"
            return
        fi
    done
}

# uv brings its own list of certificate authorities; the system's also knows those of the
# network this machine is in.
find_certificates() {
    for bundle in "${SSL_CERT_FILE:-}" /etc/ssl/certs/ca-certificates.crt \
        /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/cert.pem; do
        if [ -s "$bundle" ]; then
            export SSL_CERT_FILE="$bundle"
            return
        fi
    done
    return 1
}

# True where the distribution's own Python is new enough.
apt_python_suffices() {
    offered=$(apt-cache policy python3 2>/dev/null | sed -n 's/^ *Candidate: *//p')
    case $offered in
        3.[0-9].* | 3.1[01].*) return 1 ;;
        *) return 0 ;;      # also "(none)" before the first apt-get update: the next run decides
    esac
}

missing_packages() {
    find_certificates || echo ca-certificates
    if [ -n "$python" ]; then
        missing_compiler "$python"
    elif [ -z "${HIFUFLOW_PYTHON:-}" ] && apt_python_suffices; then
        echo python3 python3-dev gcc libc6-dev
    elif ! command -v gcc >/dev/null; then
        echo gcc libc6-dev
    fi
    if [ -z "$uv" ] && [ -z "$(find_python_with_pip "$python")" ]; then
        echo python3-venv
    fi
    missing_libraries "${python:-$(command -v python3 || true)}"
}

# --- what is missing ---------------------------------------------------------------------------

install_packages() {
    command="apt-get install -y --no-install-recommends $*"
    if ! command -v apt-get >/dev/null; then
        stop "please install what these Debian packages hold, then start again: $*"
    elif [ "$(id -u)" != 0 ]; then
        say "system packages are missing. Please run"
        printf '\n    sudo apt-get update && sudo %s\n\n' "$command" >&2
        stop "and start again."
    fi
    say "installing system packages (a minute or two; log in .tools/apt.log): $*"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update >.tools/apt.log 2>&1 || say "apt-get update failed; trying the lists there are"
    if ! $command -o DPkg::Lock::Timeout=600 >>.tools/apt.log 2>&1 </dev/null; then
        tail -n 20 .tools/apt.log >&2
        stop "failed: $command"
    fi
}

fetch_uv() {
    say "fetching uv"
    helper=$(find_python_with_pip "$python")
    [ -n "$helper" ] || stop "no Python here has pip or venv: please install uv (pip install uv)"
    if "$helper" -I -c 'import venv, ensurepip' 2>/dev/null; then
        "$helper" -m venv --clear .tools/uv
        .tools/uv/bin/python -m pip install --quiet "uv>=$uv_minimum,<1"
    else
        rm -rf .tools/uv
        "$helper" -m pip install --quiet --target .tools/uv "uv>=$uv_minimum,<1"
    fi
    uv=$(find_uv)
    [ -n "$uv" ] || stop "pip installed a uv that does not run"
}

fetch_python() {
    say "no Python >= 3.12 found: fetching $python_fallback"
    UV_PYTHON_INSTALL_DIR=$root/.tools/python "$uv" python install --no-bin "$python_fallback" \
        || stop "that failed. Please install Python 3.12 or newer with its headers (a" \
            "distribution's python3-dev, pyenv, conda, ...), or name one: HIFUFLOW_PYTHON=/path"
    python=$(find_python)
    [ -n "$python" ] || stop "the fetched Python does not run"
}

# .venv cannot be brought up to date if it was interrupted, moved, or made with another Python.
venv_is_sound() {
    [ ! -e "$unfinished" ] && grep -qF "$root/.venv" .venv/bin/activate 2>/dev/null \
        && [ "$(.venv/bin/python -I -S -c \
            'import os, sys; print(os.path.realpath(sys._base_executable))' 2>/dev/null)" = "$python" ]
}

build_environment() {
    venv_is_sound || rm -rf .venv
    : >"$unfinished"
    quiet=--quiet
    if [ -t 2 ]; then quiet=; fi
    # shellcheck disable=SC2086  # an option or nothing
    "$uv" sync $quiet --frozen --no-python-downloads --python "$python" \
        || stop "uv could not install the packages of uv.lock (see above)"
    export MPLBACKEND=Agg
    for modules in 'from mpi4py import MPI; import dolfinx, petsc4py' 'import gmsh' 'import slycot'; do
        .venv/bin/python -I -c "$modules" || stop "the packages are installed but do not load: $modules"
    done
    fingerprint >"$stamp.new"
    mv "$stamp.new" "$stamp"
    rm -f "$unfinished"
}

# --- go ----------------------------------------------------------------------------------------

is_ready() {
    [ -z "${HIFUFLOW_PYTHON:-}" ] && [ ! -e "$unfinished" ] && [ -f "$stamp" ] \
        && now=$(fingerprint 2>/dev/null) && [ "$now" = "$(cat "$stamp")" ] \
        && [ -z "$(missing_libraries .venv/bin/python)" ]
}

if is_ready; then exit 0; fi
case "$(uname -s) $(uname -m)" in
    "Linux x86_64") ;;
    *) stop "the DOLFINx wheel exists for Linux on x86-64 only, this is $(uname -s) $(uname -m)" ;;
esac
mkdir -p .tools
if command -v flock >/dev/null; then
    exec 9>.tools/lock
    flock -n 9 || { say "waiting for another set-up of this clone"; flock 9; }
    if is_ready; then exit 0; fi
fi

began=$(date +%s)
python=$(find_python)
uv=$(find_uv)
packages=$(missing_packages | tr '\n' ' ')
if [ -n "$packages" ]; then
    # shellcheck disable=SC2086  # a list of words
    install_packages $packages
    python=$(find_python)
    packages=$(missing_packages | tr '\n' ' ')
    [ -z "$packages" ] || stop "still missing after the installation: $packages"
fi
if [ -n "${HIFUFLOW_PYTHON:-}" ] && [ -z "$python" ]; then
    stop "HIFUFLOW_PYTHON=$HIFUFLOW_PYTHON is not a 64-bit CPython >= 3.12"
fi
find_certificates || say "no certificates found: downloads may fail"
[ -n "$uv" ] || fetch_uv
[ -n "$python" ] || fetch_python
say "Python $("$python" -I -c 'import platform; print(platform.python_version())') ($python)"
say "installing the packages of uv.lock into .venv"
build_environment
say "ready after $(($(date +%s) - began)) s"
