#!/bin/sh
# Makes the virtual environment that the Makefile's targets run in:   sh tools/setup.sh VENV EXTRA...
#
# Needs Python 3.10 or newer and a C compiler; asks apt for the rest only where it is missing. What cannot be had
# (a sound library, a sound server) is said in one line, and everything else is installed without it. A stamp in
# the environment makes every further call instant until setup.cfg, the Python or the sound library changes.
#   PYTHON=...          use this Python            SYSTEM_PACKAGES=no   never call apt
set -eu
cd "$(dirname "$0")/.."
VENV=$1
shift
LOG=$VENV/setup.log

say() { echo "setup: $*"; }
fail() { say "$*" >&2; exit 1; }

# --- what is there -------------------------------------------------------------------------------------------------

suitable() { "$1" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 15))' >/dev/null 2>&1; }

find_python() {
    for python in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11 python3.10}; do
        if suitable "$python"; then command -v "$python"; return; fi
    done
    fail "no Python 3.10 to 3.14 found (python3 is $(python3 --version 2>&1 || :)): install one, or name it with PYTHON=/path/to/python3"
}

has_header() { echo "#include <$1>" | ${CC:-cc} ${2:+-I "$2"} -E - >/dev/null 2>&1; }
has_python_headers() { has_header Python.h "$("$VENV/bin/python" -c 'import sysconfig; print(sysconfig.get_path("include"))')"; }
has_pyaudio() { [ -n "$(find "$VENV"/lib/python3*/site-packages -maxdepth 1 -name 'pyaudio*' 2>/dev/null)" ]; }

audio_state() {
    if has_pyaudio; then echo built
    elif has_header portaudio.h && has_python_headers; then echo headers
    else echo none; fi
}

# --- Debian and Ubuntu packages ------------------------------------------------------------------------------------

# system_packages WHY PACKAGE...: true when they are installed afterwards; otherwise WHY_NOT says why not.
system_packages() {
    why=$1
    shift
    WHY_NOT="$* missing"
    [ "${SYSTEM_PACKAGES:-yes}" != no ] || { WHY_NOT="$* missing, and SYSTEM_PACKAGES=no"; return 1; }
    command -v apt-get >/dev/null || { WHY_NOT="$* missing, and there is no apt-get to install it"; return 1; }
    root=
    if [ "$(id -u)" != 0 ]; then
        sudo -n true 2>/dev/null || { WHY_NOT="it needs 'sudo apt-get install $*'"; return 1; }
        root="sudo -n"
    fi
    say "installing $* ($why)${root:+ with sudo}"
    apt="$root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 -qq"
    $apt install -y --no-install-recommends "$@" >>"$LOG" 2>&1 && return
    # Package lists of a fresh machine are empty or old.
    $apt update >>"$LOG" 2>&1 && $apt install -y --no-install-recommends "$@" >>"$LOG" 2>&1 && return
    WHY_NOT="apt-get could not install $* (see $LOG)"
    return 1
}

# --- the steps -----------------------------------------------------------------------------------------------------

make_environment() {
    "$VENV/bin/python" -m pip --version >/dev/null 2>&1 && suitable "$VENV/bin/python" && return
    python=$(find_python)
    rm -rf "$VENV"
    mkdir -p "$VENV"
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        version=$("$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
        system_packages "Python's venv" "$version-venv" || system_packages "Python's venv" python3-venv || :
    fi
    say "$("$python" --version) in $VENV"
    if "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        "$python" -m venv "$VENV" >>"$LOG" 2>&1 || fail "the virtual environment cannot be made (see $LOG)"
    else # Debian splits ensurepip off; a pip of the system can fill an environment from outside.
        { "$python" -m venv --without-pip "$VENV" && "$python" -m pip --python "$VENV/bin/python" install pip; } >>"$LOG" 2>&1 ||
            fail "the virtual environment needs ensurepip: ${WHY_NOT:-install python3-venv}"
    fi
}

prepare_audio() {
    has_pyaudio && return
    has_header stdio.h || { WHY_NOT="there is no C compiler (cc)"; return 1; }
    needed=
    has_header portaudio.h || needed=portaudio19-dev
    has_python_headers || needed="$needed $("$VENV/bin/python" -c 'import sys; print("python%d.%d-dev" % sys.version_info[:2])')"
    [ -z "$needed" ] || system_packages "headers for the sound card" $needed
}

prepare_sound_server() {
    command -v pulseaudio >/dev/null && command -v parec >/dev/null && ls /usr/lib/*/alsa-lib/libasound_module_pcm_pulse.so >/dev/null 2>&1 && return
    system_packages "a sound server for live tests and benchmarks" pulseaudio pulseaudio-utils libasound2-plugins || say "live tests will be skipped, live benchmarks will do less: $WHY_NOT"
}

# For tests/test_instructions.py. What tests/dsp/test_kernels_are_vectorised.py needs, objdump, comes with the C compiler.
prepare_counting() {
    command -v valgrind >/dev/null && return
    system_packages "counting instructions in tests" valgrind || say "kernels are timed instead of counted: $WHY_NOT"
}

# install_package EXTRA,...: or nothing, for the package alone.
install_package() { "$VENV/bin/python" -m pip install --disable-pip-version-check -e ".${1:+[$1]}" >>"$LOG" 2>&1; }

key() {
    "$VENV/bin/python" -c 'import sys; print(sys.version)' 2>/dev/null || return
    cat setup.cfg setup.py pyproject.toml tools/setup.sh | cksum
    pwd
    audio_state
}

# --- in order ------------------------------------------------------------------------------------------------------

stamp=$VENV/setup-$(echo "$*" | tr ' ' -).stamp
if [ -f "$stamp" ] && [ "$(key)" = "$(cat "$stamp")" ]; then
    case " $* " in *" audio "*) has_pyaudio || say "no sound card: PyAudio is not installed; everything else works" ;; esac
    exit 0
fi

make_environment
case " $* " in *" test "* | *" bench "*) prepare_sound_server; prepare_counting ;; esac

say "installing rtmedia${*:+ with $*} (the first time takes a minute or two)"
extras=$(for extra; do [ "$extra" = audio ] || printf '%s,' "$extra"; done)
install_package "${extras%,}" || { tail -n 15 "$LOG" >&2; fail "pip could not install rtmedia (see $LOG)"; }
case " $* " in
*" audio "*)
    if ! prepare_audio; then
        say "no sound card: $WHY_NOT; everything else works"
    elif ! has_pyaudio && ! install_package audio; then
        say "no sound card: PyAudio could not be built (see $LOG); everything else works"
    fi
    ;;
esac
key >"$stamp"
