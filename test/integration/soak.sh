#!/bin/sh
# SPDX-License-Identifier: BSL-1.0
#
# soak.sh COMMAND...: runs the crowd of visitors (remote_crowd_test.cpp) for AVIRT_SOAK_SECONDS, ten minutes by default, with
# AVIRT_SOAK_SEED, or with a new seed.
export AVIRT_SOAK_SECONDS="${AVIRT_SOAK_SECONDS:-600}" AVIRT_SOAK_SEED="${AVIRT_SOAK_SEED:-$(date +%s)}"
exec "$@" --run_test=remote_crowd/a_thousand_streams_leave_nothing --log_level=message --color_output=no \
    --catch_system_errors=no
