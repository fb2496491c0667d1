// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <libvirt/libvirt.h>

#include <string>

/// The domains of a hypervisor and their consoles, as a table. Blocks.
std::string list_domains(virConnectPtr connection);
