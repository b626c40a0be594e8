#!/bin/sh
# Set up a virtual environment with exactly one FBGEMM build, matching torch and torchrec.
# usage: install.sh PYTHON VENV cpu|cuda [TORCH_INDEX] [default|newest]
set -eu
python=$1 venv=$2 build=$3 index=${4:-} trio=${5:-default}
here=$(dirname "$0")

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || {
    echo "interactrank needs Python 3.10 or newer; '$python' is $("$python" -V). Try: make install PYTHON=python3.11" >&2
    exit 1
}
case $build in cpu | cuda) ;; *)
    echo "BUILD is '$build'; it is cpu or cuda" >&2
    exit 1
    ;;
esac
case $trio in
    default) constraints=constraints-$build.txt stand_in=fbgemm-gpu-cpu ;;
    newest) constraints=constraints-newest-$build.txt stand_in=fbgemm-gpu-cpu-1.9 ;;
    *)
        echo "the trio is '$trio'; it is default or newest" >&2
        exit 1
        ;;
esac
# An environment whose pip does not run was left half-made, or its Python is gone: start again.
"$venv/bin/python" -m pip --version >/dev/null 2>&1 || "$python" -m venv --clear "$venv" || {
    echo "'$python -m venv' failed; on Debian and Ubuntu: apt-get install python3-venv" >&2
    exit 1
}
rm -f "$venv"/.installed-*

echo "setting up $venv ($build build); the first time this takes some minutes"
# Both builds own the same files, so that taking one away harms the other: take both away, then install one.
"$venv/bin/python" -m pip uninstall -q -y fbgemm-gpu fbgemm-gpu-cpu 2>/dev/null || true
set -- -c "$here/$constraints"
[ -z "$index" ] || set -- "$@" --extra-index-url "$index"
[ "$build" = cuda ] || set -- "$@" "$here/$stand_in"
"$venv/bin/python" -m pip install -q "$@" -e "$here/..[dev]"
"$venv/bin/python" -m pip check
