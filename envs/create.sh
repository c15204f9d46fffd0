#!/bin/sh
# create.sh STAMP: make .venv what the lock says, then leave the file STAMP in it. Called by make, in the project folder.
# It may be killed at any moment and called again. Environment: PYTHON, CPU=1, TORCH_INDEX (see the Makefile).
set -eu

fail() {
    printf '%s\n' "$@" >&2
    exit 1
}

suits() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' > /dev/null 2>&1; }

# The Python that was asked for, or the first one found that is new enough.
find_python() {
    for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
        if suits "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    found=$("${PYTHON:-python3}" --version 2> /dev/null || printf 'no Python')
    fail "sgdphases needs Python 3.11 or newer; ${PYTHON:-python3} is $found." \
        "Install a newer one, or name it: make run PYTHON=/path/to/python3.12"
}

stamp=$1
cpu=${CPU:-0}
size="6 GB of disk (CPU=1: 2 GB)"
[ "$cpu" != 1 ] || size="2 GB of disk"
printf 'Environment: completing .venv from envs/requirements.lock; 1 to 5 minutes and %s the first time.\n' "$size"

rm -f .venv/.stamp-*
here=$(pwd)
# A folder that was moved or copied keeps an environment whose scripts point to the old place: begin anew.
if ! suits .venv/bin/python || [ "$(cat .venv/.place 2> /dev/null || printf '%s' "$here")" != "$here" ]; then
    python=$(find_python)
    "$python" -c 'import ensurepip, venv' > /dev/null 2>&1 || fail \
        "$python has no venv and ensurepip: some distributions split them off." \
        "On Debian and Ubuntu: apt-get install python3-venv. Or name another Python: make run PYTHON=..."
    "$python" -m venv --clear .venv
fi
printf '%s' "$here" > .venv/.place

python=.venv/bin/python
"$python" -m pip --version > /dev/null 2>&1 || "$python" -m ensurepip > /dev/null
"$python" -m pip install --quiet --disable-pip-version-check --require-hashes -r envs/installer.lock

lock=envs/requirements.lock
if [ "$cpu" = 1 ]; then
    # PyTorch's CPU wheels carry the same version but other hashes than the lock's, and need none of the CUDA packages.
    lock=.venv/cpu.lock
    awk '/^[^ #]/ { skip = /^(torch|torchvision|triton|nvidia-[a-z0-9-]+|cuda-[a-z0-9-]+)==/ } !skip' \
        envs/requirements.lock > "$lock"
fi
# Compiled here: where Python may not keep what it compiles (PYTHONDONTWRITEBYTECODE, as in many containers), each job
# would compile torch and all else anew, 6 s instead of 2.
export UV_COMPILE_BYTECODE=1
# docs/cluster.md adds the executors; without them in the list, `sync` would take them away.
executors=$("$python" -m uv pip freeze --python "$python" 2> /dev/null | grep -c '^snakemake-executor-plugin-' || :)
set --
[ "$executors" = 0 ] || set -- envs/cluster.lock
"$python" -m uv pip sync --python "$python" --require-hashes "$lock" "$@"
if [ "$cpu" = 1 ]; then
    pins=$(sed -n -E 's/^((torch|torchvision)==[^ ;]+).*/\1/p' envs/requirements.lock | tr '\n' ' ')
    case ${TORCH_INDEX:-} in
        '') set -- --torch-backend cpu ;;
        *://*) set -- --default-index "$TORCH_INDEX" ;;
        *) set -- --no-index --find-links "$TORCH_INDEX" ;;
    esac
    # shellcheck disable=SC2086  # two words, two packages
    "$python" -m uv pip install --python "$python" --no-deps "$@" $pins || fail \
        "No CPU-only build of ${pins}was found, see above." \
        "TORCH_INDEX=... names another index, or a folder with the two wheels; without CPU=1 the default build is taken."
fi
"$python" -m uv pip install --quiet --python "$python" --no-deps --no-build-isolation --editable .
: > "$stamp"
printf 'Environment: complete.\n'
