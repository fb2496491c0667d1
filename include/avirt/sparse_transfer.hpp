// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/async_stream.hpp>
#include <avirt/detail/initiate_transfer.hpp>
#include <avirt/progress.hpp>
#include <avirt/transfer_options.hpp>

#include <filesystem>
#include <memory>
#include <utility>

namespace avirt {

namespace detail {

AVIRT_DECL void async_receive_sparse(
    std::shared_ptr<stream_impl> from, std::filesystem::path to, transfer_options options,
    const transfer_executors& executors, transfer_handler handler, error_details* details);

AVIRT_DECL void async_send_sparse(
    std::shared_ptr<stream_impl> to, std::filesystem::path from, transfer_options options,
    const transfer_executors& executors, transfer_handler handler, error_details* details);

/// Launches a transfer between a stream, or a connection, and a file.
template <auto Function>
struct launch_file_transfer
{
    template <class Object, class Handler, class... Args>
    void operator()(Object& object, Handler&& handler, error_details* details, Args&&... args) const
    {
        const auto executors = executors_of(handler, object.get_executor());
        Function(
            implementation_of(object), std::forward<Args>(args)..., executors,
            erase_handler<void(error_code, progress)>(std::forward<Handler>(handler), object.get_executor()),
            details);
    }
};

} // namespace detail

/// Asynchronously receives a stream into a file, holes as holes.
///
/// The file is written beside its target: "disk.img" as ".disk.img.part", until everything has been received
/// and is on the disk. Then it gets its name, and replaces an older file, whose permissions it keeps; in the
/// place of a symbolic link, the file that it leads to is replaced. If the transfer fails or is cancelled,
/// the partial file has been removed when the handler is invoked, unless the file system hangs.
///
/// The file is accessed on worker threads only. The operation does not finish the stream.
///
/// @param from The stream, opened on a volume_download with sparse set, for instance. It is held by
/// reference, and its end or its close() ends the transfer. Streams of drivers in this process do not tell
/// where holes are; then runs of zeros become holes.
/// @param to The path of the file.
/// @param options sparse: whether there are holes in the file; otherwise it is filled with zeros in their
/// place. bytes_per_second, on_progress, limits. The others are not used.
/// @param token The completion token.
///
/// @par Completion signature
/// `void(error_code, progress)`
///
/// @par Errors
/// @li Those of basic_async_stream::async_read_some().
/// @li condition::busy: another transfer is writing to the same target.
/// @li condition::no_space, condition::denied, std::errc::no_such_file_or_directory,
/// std::errc::is_a_directory, condition::not_supported (the target is a device) and other errors of files.
/// The details name the file.
/// @li error::call_threw: on_progress threw an exception that carries no error code.
///
/// @par Per-operation cancellation
/// Terminal, partial and total, of the read or of the access to the file that is under way.
///
/// @code
/// avirt::volume_download what{{"default", "disk.img"}};
/// what.sparse = true;
/// co_await stream.async_open(conn, what);
/// const auto moved = co_await avirt::async_receive_sparse(stream, "/backup/disk.img");
/// co_await stream.async_finish();
/// @endcode
template <
    class Executor,
    BOOST_ASIO_COMPLETION_TOKEN_FOR(void(error_code, progress)) Token = detail::default_token_t<Executor>>
auto async_receive_sparse(
    basic_async_stream<Executor>& from, std::filesystem::path to, transfer_options options = {},
    Token&& token = {})
{
    return asio::async_initiate<Token, void(error_code, progress)>(
        detail::initiation(from, detail::launch_file_transfer<&detail::async_receive_sparse>()), token,
        std::move(to), std::move(options));
}

/// Asynchronously sends a file to a stream, holes as holes: those of the file system, and runs of zeros of
/// 64 KiB and more.
///
/// libvirt keeps what is in the place of a hole: send holes only to a volume that has just been created, or
/// use async_upload(). The operation does not finish the stream, and until basic_async_stream::async_finish()
/// has succeeded it is not known whether the daemon has stored the data.
///
/// The file is read on worker threads only.
///
/// @param to The stream, opened on a volume_upload with sparse set, for instance. It is held by reference,
/// and its close() ends the transfer. Streams of drivers in this process are sent zeros in the place of
/// holes.
/// @param from The path of the file, or block device.
/// @param options sparse: whether holes are sent as such. offset, length: the part of the file.
/// bytes_per_second, on_progress, limits. The others are not used.
/// @param token The completion token.
///
/// @par Completion signature
/// `void(error_code, progress)`
///
/// @par Errors
/// @li Those of basic_async_stream::async_write_some().
/// @li std::errc::no_such_file_or_directory, condition::denied, std::errc::is_a_directory,
/// condition::not_supported (it is neither a regular file nor a block device) and other errors of files. The
/// details name the file.
/// @li std::errc::io_error: the file has shrunk while it was read; if it grows, what is added is not sent.
/// @li error::call_threw: on_progress threw an exception that carries no error code.
///
/// @par Per-operation cancellation
/// Terminal, partial and total, of the access to the file that is under way; for the write that is under way
/// see basic_async_stream::async_write_some().
///
/// @code
/// avirt::volume_upload fresh{{"default", "new.img"}};
/// fresh.sparse = true;
/// co_await stream.async_open(conn, fresh);
/// const auto moved = co_await avirt::async_send_sparse(stream, "/backup/disk.img");
/// co_await stream.async_finish();
/// @endcode
template <
    class Executor,
    BOOST_ASIO_COMPLETION_TOKEN_FOR(void(error_code, progress)) Token = detail::default_token_t<Executor>>
auto async_send_sparse(
    basic_async_stream<Executor>& to, std::filesystem::path from, transfer_options options = {},
    Token&& token = {})
{
    return asio::async_initiate<Token, void(error_code, progress)>(
        detail::initiation(to, detail::launch_file_transfer<&detail::async_send_sparse>()), token,
        std::move(from), std::move(options));
}

} // namespace avirt
