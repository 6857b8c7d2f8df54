#!/bin/sh
# Build learn2learn 0.2.0 from its source and install it, without its dependencies.
#
#     benchmarks/build_learn2learn.sh PYTHON
#
# Why not pip alone: the source ships C files that an old Cython wrote; they include longintrepr.h,
# which CPython 3.11 no longer has. Here they are written anew. Why without dependencies: gym,
# torchvision and the like are not needed by MAML, and torchvision would bring another torch.
# Needs a C compiler. Cython below 3 knows Python up to 3.12.
set -eu

python=${1:?"say which python to build for: $0 .venv-bench/bin/python"}
python=$(cd "$(dirname "$python")" && pwd)/$(basename "$python")
version=0.2.0
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT

pip() { "$python" -m pip "$@" --quiet --disable-pip-version-check; }

if "$python" -c "from importlib.metadata import version as v; exit(v('learn2learn') != '$version')" \
    2>/dev/null; then
  exit 0
fi
pip download --no-deps --no-binary learn2learn --dest "$place" "learn2learn==$version"
pip install --target "$place/tools" 'cython<3' 'setuptools<80' wheel
tar -xzf "$place/learn2learn-$version.tar.gz" -C "$place"
cd "$place/learn2learn-$version"
rm learn2learn/data/*.c
# `build_ext` on the command line is what makes its setup.py run Cython.
PYTHONPATH="$place/tools" "$python" setup.py --quiet build_ext --inplace bdist_wheel >build.log 2>&1 ||
  { tail -20 build.log >&2; exit 1; }
pip install --no-deps dist/*.whl
