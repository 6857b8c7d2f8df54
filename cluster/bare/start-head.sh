#!/bin/bash
# On the first machine. Prints how the others join, and how to search.
set -euo pipefail
export PATH="__BIN__:$PATH"
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH="$HOME/.metasearch/token"
# Ray serves what it measures to whoever asks, without a token; so it measures nothing.
export RAY_enable_metrics_collection=0 AUTOSCALER_METRIC_PORT=-1 DASHBOARD_METRIC_PORT=-1
metasearch cluster token >/dev/null
ray start --head --node-ip-address="__HEAD__" --port=__PORT__ --dashboard-host=127.0.0.1 \
  --node-manager-port=__NODE_PORT__ --object-manager-port=__OBJECT_PORT__ \
  --runtime-env-agent-port=6382 --metrics-export-port=6383 --dashboard-agent-grpc-port=6384 \
  --dashboard-agent-listen-port=6385 \
  --min-worker-port=__FIRST_PORT__ --max-worker-port=__LAST_PORT__ \
  --num-gpus=__GPUS__ --disable-usage-stats
echo "on the others: bring ~/.metasearch/token there (mode 600), then start-worker.sh"
echo "search here:   metasearch search __SEARCH__ --out __RUNS__ --address __HEAD__:__PORT__ --gpus-per-trial __GPUS_PER_TRIAL__"
