// SPDX-License-Identifier: BSL-1.0
#pragma once

// Whole-stream algorithms, and transfers between volumes and files.
#include <avirt/picture.hpp>
#include <avirt/progress.hpp>
#include <avirt/receive_all.hpp>
#include <avirt/relay.hpp>
#include <avirt/send_all.hpp>
#include <avirt/sparse_transfer.hpp>
#include <avirt/transfer_limits.hpp>
#include <avirt/transfer_options.hpp>
#include <avirt/volume_info.hpp>
#include <avirt/volume_transfer.hpp>
