#!/bin/bash
# On any machine: end every Ray of this user on it. Searches that ran can be resumed.
set -euo pipefail
export PATH="__BIN__:$PATH"
ray stop --grace-period 30
