#!/bin/sh
# SPDX-License-Identifier: BSL-1.0
#
# stress.sh COMMAND...: runs a conformance program's comparison with the model (model_test.cpp) for AVIRT_STRESS_SECONDS,
# a minute by default, with AVIRT_STRESS_THREADS and AVIRT_STRESS_SEED if they are set.
export AVIRT_STRESS_SECONDS="${AVIRT_STRESS_SECONDS:-60}"
exec "$@" --run_test=model --log_level=message --color_output=no --catch_system_errors=no
