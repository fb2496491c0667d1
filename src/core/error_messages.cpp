// SPDX-License-Identifier: BSL-1.0
#include "core/error_messages.hpp"

#include "core/newer_errors.hpp"

#include <libvirt/virterror.h>

namespace avirt::detail {

const char* sentence_for(error e) noexcept
{
    switch (e) {
    case error::event_loop_in_use:
        return "another avirt::event_loop is bound: a process has one at a time";
    case error::foreign_event_loop:
        return "libvirt already uses an event loop that is not avirt's: construct avirt::event_loop first";
    case error::no_event_loop:
        return "no avirt::event_loop is bound: construct one first";
    case error::not_open:
        return "the object is not open";
    case error::already_open:
        return "the object is open already";
    case error::operation_in_progress:
        return "an operation of this kind is already under way";
    case error::at_hole:
        return "the read stopped at a hole: take it with async_read_hole()";
    case error::wrong_connection:
        return "the opener used an object of another connection: use the one that the opener is given";
    case error::call_threw:
        return "a function of the application threw an exception";
    case error::events_lost:
        return "events were lost because the queue overflowed";
    case error::result_unknown:
        return "the connection was lost before the result was known";
    case error::output_lost:
        return "output was lost because the view had fallen behind";
    case error::console_state_changed:
        return "the state of the console has changed";
    case error::not_attached:
        return "the console is not open at present";
    case error::verification_failed:
        return "the volume and the file differ";
    }
    return nullptr;
}

const char* sentence_for(condition c) noexcept
{
    switch (c) {
    case condition::connection_lost:
        return "the connection to libvirt was lost";
    case condition::console_in_use:
        return "another session has the console";
    case condition::console_taken_over:
        return "another session took the console over";
    case condition::guest_gone:
        return "the guest is not running";
    case condition::not_found:
        return "there is no such object or device";
    case condition::denied:
        return "access was denied";
    case condition::timed_out:
        return "a time limit ran out";
    case condition::not_supported:
        return "this is not supported";
    case condition::no_space:
        return "there is no space left";
    case condition::already_exists:
        return "an object of that name exists already";
    case condition::wrong_state:
        return "the object is not in a state that allows this";
    case condition::busy:
        return "the object is busy: try again later";
    }
    return nullptr;
}

const char* sentence_for_libvirt(int number) noexcept
{
    switch (number) {
    case VIR_ERR_OK:
        return "no error";
    case VIR_ERR_INTERNAL_ERROR:
        return "libvirt met an internal error";
    case VIR_ERR_NO_MEMORY:
        return "libvirt ran out of memory";
    case VIR_ERR_NO_SUPPORT:
        return "the hypervisor's driver does not have this function";
    case VIR_ERR_UNKNOWN_HOST:
        return "the host name cannot be resolved";
    case VIR_ERR_NO_CONNECT:
        return "no driver of libvirt's serves this URI";
    case VIR_ERR_INVALID_CONN:
        return "the connection is not valid";
    case VIR_ERR_INVALID_DOMAIN:
        return "the domain object is not valid";
    case VIR_ERR_INVALID_ARG:
        return "an argument is not valid";
    case VIR_ERR_OPERATION_FAILED:
        return "the operation failed";
    case VIR_ERR_GET_FAILED:
        return "an HTTP GET failed";
    case VIR_ERR_POST_FAILED:
        return "an HTTP POST failed";
    case VIR_ERR_HTTP_ERROR:
        return "an HTTP request failed";
    case VIR_ERR_SEXPR_SERIAL:
        return "an S-expression could not be written";
    case VIR_ERR_NO_XEN:
        return "the Xen hypervisor cannot be used";
    case VIR_ERR_XEN_CALL:
        return "a call to the Xen hypervisor failed";
    case VIR_ERR_OS_TYPE:
        return "the operating system type is not known";
    case VIR_ERR_NO_KERNEL:
        return "the description lacks a kernel";
    case VIR_ERR_NO_ROOT:
        return "the description lacks a root device";
    case VIR_ERR_NO_SOURCE:
        return "the description of a device lacks its source";
    case VIR_ERR_NO_TARGET:
        return "the description of a device lacks its target";
    case VIR_ERR_NO_NAME:
        return "the description lacks a name";
    case VIR_ERR_NO_OS:
        return "the description lacks an operating system";
    case VIR_ERR_NO_DEVICE:
        return "the description lacks devices";
    case VIR_ERR_NO_XENSTORE:
        return "the Xen store cannot be reached";
    case VIR_ERR_DRIVER_FULL:
        return "too many drivers are registered";
    case VIR_ERR_CALL_FAILED:
        return "a call to a library failed";
    case VIR_ERR_XML_ERROR:
        return "the XML description is not valid";
    case VIR_ERR_DOM_EXIST:
        return "the domain exists already";
    case VIR_ERR_OPERATION_DENIED:
        return "the operation is forbidden, on a read-only connection for instance";
    case VIR_ERR_OPEN_FAILED:
        return "a configuration file cannot be opened";
    case VIR_ERR_READ_FAILED:
        return "a configuration file cannot be read";
    case VIR_ERR_PARSE_FAILED:
        return "a configuration file cannot be understood";
    case VIR_ERR_CONF_SYNTAX:
        return "a configuration file has a syntax error";
    case VIR_ERR_WRITE_FAILED:
        return "a configuration file cannot be written";
    case VIR_ERR_XML_DETAIL:
        return "the XML cannot be parsed";
    case VIR_ERR_INVALID_NETWORK:
        return "the network object is not valid";
    case VIR_ERR_NETWORK_EXIST:
        return "the network exists already";
    case VIR_ERR_SYSTEM_ERROR:
        return "a system call failed";
    case VIR_ERR_RPC:
        return "the exchange with the daemon failed";
    case VIR_ERR_GNUTLS_ERROR:
        return "TLS failed";
    case VIR_WAR_NO_NETWORK:
        return "the network driver is not available";
    case VIR_ERR_NO_DOMAIN:
        return "there is no such domain";
    case VIR_ERR_NO_NETWORK:
        return "there is no such network";
    case VIR_ERR_INVALID_MAC:
        return "the MAC address is not valid";
    case VIR_ERR_AUTH_FAILED:
        return "authentication failed";
    case VIR_ERR_INVALID_STORAGE_POOL:
        return "the storage pool object is not valid";
    case VIR_ERR_INVALID_STORAGE_VOL:
        return "the storage volume object is not valid";
    case VIR_WAR_NO_STORAGE:
        return "the storage driver is not available";
    case VIR_ERR_NO_STORAGE_POOL:
        return "there is no such storage pool";
    case VIR_ERR_NO_STORAGE_VOL:
        return "there is no such storage volume";
    case VIR_WAR_NO_NODE:
        return "the node device driver is not available";
    case VIR_ERR_INVALID_NODE_DEVICE:
        return "the node device object is not valid";
    case VIR_ERR_NO_NODE_DEVICE:
        return "there is no such node device";
    case VIR_ERR_NO_SECURITY_MODEL:
        return "there is no such security model";
    case VIR_ERR_OPERATION_INVALID:
        return "the operation is not valid in the present state";
    case VIR_WAR_NO_INTERFACE:
        return "the interface driver is not available";
    case VIR_ERR_NO_INTERFACE:
        return "there is no such interface";
    case VIR_ERR_INVALID_INTERFACE:
        return "the interface object is not valid";
    case VIR_ERR_MULTIPLE_INTERFACES:
        return "more than one interface matches";
    case VIR_WAR_NO_NWFILTER:
        return "the network filter driver is not available";
    case VIR_ERR_INVALID_NWFILTER:
        return "the network filter object is not valid";
    case VIR_ERR_NO_NWFILTER:
        return "there is no such network filter";
    case VIR_ERR_BUILD_FIREWALL:
        return "the firewall cannot be built";
    case VIR_WAR_NO_SECRET:
        return "the secret driver is not available";
    case VIR_ERR_INVALID_SECRET:
        return "the secret is not valid";
    case VIR_ERR_NO_SECRET:
        return "there is no such secret";
    case VIR_ERR_CONFIG_UNSUPPORTED:
        return "the configuration is not supported";
    case VIR_ERR_OPERATION_TIMEOUT:
        return "the operation took too long";
    case VIR_ERR_MIGRATE_PERSIST_FAILED:
        return "the domain was migrated, but could not be made persistent";
    case VIR_ERR_HOOK_SCRIPT_FAILED:
        return "a hook script failed";
    case VIR_ERR_INVALID_DOMAIN_SNAPSHOT:
        return "the snapshot object is not valid";
    case VIR_ERR_NO_DOMAIN_SNAPSHOT:
        return "there is no such snapshot";
    case VIR_ERR_INVALID_STREAM:
        return "the stream object is not valid";
    case VIR_ERR_ARGUMENT_UNSUPPORTED:
        return "an argument is not supported";
    case VIR_ERR_STORAGE_PROBE_FAILED:
        return "the storage could not be probed";
    case VIR_ERR_STORAGE_POOL_BUILT:
        return "the storage pool has been built already";
    case VIR_ERR_SNAPSHOT_REVERT_RISKY:
        return "reverting to the snapshot is risky and has to be forced";
    case VIR_ERR_OPERATION_ABORTED:
        return "the operation was aborted";
    case VIR_ERR_AUTH_CANCELLED:
        return "authentication was cancelled";
    case VIR_ERR_NO_DOMAIN_METADATA:
        return "the domain has no such metadata";
    case VIR_ERR_MIGRATE_UNSAFE:
        return "the migration is not safe";
    case VIR_ERR_OVERFLOW:
        return "a number is too large";
    case VIR_ERR_BLOCK_COPY_ACTIVE:
        return "a block copy is still active";
    case VIR_ERR_OPERATION_UNSUPPORTED:
        return "the operation is not supported";
    case VIR_ERR_SSH:
    case VIR_ERR_LIBSSH:
        return "the SSH transport failed";
    case VIR_ERR_AGENT_UNRESPONSIVE:
        return "the guest agent does not answer";
    case VIR_ERR_RESOURCE_BUSY:
        return "a resource is in use";
    case VIR_ERR_ACCESS_DENIED:
        return "access to the object was denied";
    case VIR_ERR_DBUS_SERVICE:
        return "a D-Bus service reported an error";
    case VIR_ERR_STORAGE_VOL_EXIST:
        return "the storage volume exists already";
    case VIR_ERR_CPU_INCOMPATIBLE:
        return "the CPU is not compatible with the host's";
    case VIR_ERR_XML_INVALID_SCHEMA:
        return "the XML description does not follow its schema";
    case VIR_ERR_MIGRATE_FINISH_OK:
        return "the migration was given up without harm";
    case VIR_ERR_AUTH_UNAVAILABLE:
        return "authentication is not available";
    case VIR_ERR_NO_SERVER:
        return "there is no such server";
    case VIR_ERR_NO_CLIENT:
        return "there is no such client";
    case VIR_ERR_AGENT_UNSYNCED:
        return "the guest agent is out of step";
    case VIR_ERR_DEVICE_MISSING:
        return "there is no such device";
    case VIR_ERR_INVALID_NWFILTER_BINDING:
        return "the network filter binding is not valid";
    case VIR_ERR_NO_NWFILTER_BINDING:
        return "there is no such network filter binding";
    case VIR_ERR_INVALID_DOMAIN_CHECKPOINT:
        return "the checkpoint object is not valid";
    case VIR_ERR_NO_DOMAIN_CHECKPOINT:
        return "there is no such checkpoint";
    case VIR_ERR_NO_DOMAIN_BACKUP:
        return "there is no such backup job";
    case VIR_ERR_INVALID_NETWORK_PORT:
        return "the network port object is not valid";
    case VIR_ERR_NETWORK_PORT_EXIST:
        return "the network port exists already";
    case VIR_ERR_NO_NETWORK_PORT:
        return "there is no such network port";
    case VIR_ERR_NO_HOSTNAME:
        return "the domain's host name is not known";
    case VIR_ERR_CHECKPOINT_INCONSISTENT:
        return "the checkpoint is inconsistent and cannot be used";
    case VIR_ERR_MULTIPLE_DOMAINS:
        return "more than one domain matches";
    case no_network_metadata:
        return "the network has no such metadata";
    case agent_command_timeout:
        return "the guest agent did not answer a command in time";
    case agent_command_failed:
        return "the guest agent failed to execute a command";
    default:
        return nullptr;
    }
}

} // namespace avirt::detail
