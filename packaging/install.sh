#!/bin/sh
# Set up a virtual environment with exactly one FBGEMM build, matching torch and torchrec.
# usage: install.sh PYTHON VENV cpu|cuda [TORCH_INDEX]
set -eu
python=$1 venv=$2 build=$3 index=${4:-}
here=$(dirname "$0")

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || {
    echo "interactrank needs Python 3.10 or newer; '$python' is $("$python" -V). Try make install PYTHON=python3.11" >&2
    exit 1
}
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
set -- -c "$here/constraints-$build.txt"
[ -z "$index" ] || set -- "$@" --extra-index-url "$index"
case $build in
cpu)
    # Both builds own the same files: take the CUDA one away before the CPU one comes.
    "$venv/bin/pip" uninstall -q -y fbgemm-gpu 2>/dev/null || true
    set -- "$@" "$here/fbgemm-gpu-cpu"
    ;;
cuda) "$venv/bin/pip" uninstall -q -y fbgemm-gpu-cpu 2>/dev/null || true ;;
*) echo "BUILD is '$build'; it is cpu or cuda" >&2; exit 1 ;;
esac
rm -f "$venv"/.installed-*
"$venv/bin/pip" install -q "$@" -e "$here/..[dev]"
"$venv/bin/pip" check
