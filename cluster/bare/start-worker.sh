#!/bin/bash
# On every other machine, after start-head.sh.
set -euo pipefail
export PATH="__BIN__:$PATH"
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH="$HOME/.metasearch/token"
# Ray serves what it measures to whoever asks, without a token; so it measures nothing.
export RAY_enable_metrics_collection=0 AUTOSCALER_METRIC_PORT=-1 DASHBOARD_METRIC_PORT=-1
if [ ! -s "$RAY_AUTH_TOKEN_PATH" ]; then
  echo "no token in $RAY_AUTH_TOKEN_PATH: bring the head's there, mode 600" >&2
  exit 4
fi
ray start --address="__HEAD__:__PORT__" \
  --node-manager-port=__NODE_PORT__ --object-manager-port=__OBJECT_PORT__ \
  --runtime-env-agent-port=6382 --metrics-export-port=6383 --dashboard-agent-grpc-port=6384 \
  --dashboard-agent-listen-port=6385 \
  --min-worker-port=__FIRST_PORT__ --max-worker-port=__LAST_PORT__ \
  --num-gpus=__GPUS__ --disable-usage-stats
