#!/usr/bin/env bash
# Trains cells of the methods' table and times the step on a GPU: see
# gpu_table.py, whose flags follow SOURCE and OUT. WHEELS is a folder of what
# the machine's Python lacks, if anything.
set -euo pipefail
cd "$(dirname "$0")/../.."
source=$1 out=$2
shift 2
python=${PYTHON:-python3}
if [ -d "${WHEELS:-}" ]; then
  site=$(mktemp -d)
  "$python" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir \
    --upgrade --target "$site" "$WHEELS"/*.whl
  export PYTHONPATH=$site
fi
export JAX_COMPILATION_CACHE_DIR=${JAX_COMPILATION_CACHE_DIR:-/tmp/gpu_table_cache}
export PYTHONUNBUFFERED=1 MPLBACKEND=Agg TF_CPP_MIN_LOG_LEVEL=2
"$python" -c 'import jax; print(jax.__version__, jax.devices())'
exec "$python" -m experiments.benchmarks.gpu_table --source="$source" --out="$out" "$@"
