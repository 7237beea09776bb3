#!/usr/bin/env bash
# Train with one process a GPU; without GPUs, with that many processes on the CPU.
#
#   tools/dist_train.sh CONFIG GPUS [arguments of tools/train.py]
#
# On several machines, on each: NNODES=2 NODE_RANK=0 MASTER_ADDR=first-machine; two
# trainings on one machine need different ports: PORT=29501.
set -euo pipefail

if [ $# -lt 2 ]; then
    sed -n '2,7s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
config=$1
gpus=$2
shift 2
tools=$(cd "$(dirname "$0")" && pwd)
export PYTHONPATH="$tools/..${PYTHONPATH:+:$PYTHONPATH}"

exec python -m torch.distributed.run \
    --nnodes="${NNODES:-1}" \
    --node-rank="${NODE_RANK:-0}" \
    --master-addr="${MASTER_ADDR:-127.0.0.1}" \
    --master-port="${PORT:-29500}" \
    --nproc-per-node="$gpus" \
    "$tools/train.py" "$config" --launcher pytorch "$@"
