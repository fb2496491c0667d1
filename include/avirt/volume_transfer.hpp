// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/connection.hpp>
#include <avirt/openers.hpp>
#include <avirt/progress.hpp>
#include <avirt/sparse_transfer.hpp>
#include <avirt/transfer_options.hpp>

#include <filesystem>
#include <memory>
#include <utility>

namespace avirt {

namespace detail {

AVIRT_DECL void async_download(
    std::shared_ptr<connection_impl> connection, volume_locator from, std::filesystem::path to,
    transfer_options options, const transfer_executors& executors, transfer_handler handler,
    error_details* details);

AVIRT_DECL void async_upload(
    std::shared_ptr<connection_impl> connection, std::filesystem::path from, volume_locator to,
    transfer_options options, const transfer_executors& executors, transfer_handler handler,
    error_details* details);

} // namespace detail

/// Asynchronously downloads a volume, or a part of one, into a file.
///
/// The file is written beside its target: "disk.img" as ".disk.img.part", until everything has been received
/// and is on the disk. Then it gets its name, and replaces an older file, whose permissions it keeps; in the
/// place of a symbolic link, the file that it leads to is replaced.
///
/// If the transfer fails or is cancelled, the partial file has been removed when the handler is invoked,
/// unless the file system hangs. With transfer_options::resume it is kept, and the next download to the same
/// target continues it. Resuming does not find out whether the volume has changed meanwhile: verify does.
///
/// The stream has a connection of its own, if that is possible, and the file is accessed on worker threads
/// only.
///
/// @param conn The connection. It must be open when the operation is launched, and remain open until the
/// volume is being transferred.
/// @param from The volume.
/// @param to The path of the file.
/// @param options
/// @li offset, length: the part of the volume. The file contains just that.
/// @li sparse: whether there are holes in the file where the volume has holes. Otherwise it is filled with
/// zeros.
/// @li resume: continues what an earlier download has left, which counts as progress, unless it is larger
/// than what is to be downloaded.
/// @li verify: downloads the volume again when everything has been received, and compares.
/// @li bytes_per_second, on_progress, limits.
/// @param token The completion token.
///
/// @par Completion signature
/// `void(error_code, progress)`
///
/// @par Errors
/// @li error::not_open: the connection is not open.
/// @li condition::not_found: no such pool or volume.
/// @li condition::busy: another transfer is writing to the same target, or the volume is being built.
/// @li condition::no_space, condition::denied, std::errc::no_such_file_or_directory,
/// std::errc::is_a_directory, condition::not_supported (the target is a device) and other errors of files.
/// The details name the file.
/// @li error::verification_failed: the details name the file, the volume and the offset of the first
/// difference. The file has been removed, even with resume.
/// @li error::call_threw: on_progress threw an exception that carries no error code.
/// @li condition::connection_lost and libvirt's errors.
///
/// @par Per-operation cancellation
/// Terminal, partial and total. While the daemon is asked for the volume's size, a terminal cancellation
/// costs the connection, as of basic_connection::async_call(); total or partial cancellation never does. It
/// comes too late, and the download succeeds, when all is on the disk and the file gets its name. If that
/// takes more than another second, because the file system hangs, the download ends with operation_aborted,
/// and the file may get its name later.
///
/// @par libvirt
/// virStorageVolGetInfo, virStorageVolGetInfoFlags, virStorageVolDownload, virStreamRecvFlags,
/// virStreamRecvHole, virStreamFinish.
///
/// @code
/// avirt::transfer_options options;
/// options.resume = true;
/// const auto moved =
///     co_await avirt::async_download(conn, {"default", "disk.img"}, "/backup/disk.img", options);
/// @endcode
template <
    class Executor,
    BOOST_ASIO_COMPLETION_TOKEN_FOR(void(error_code, progress)) Token = detail::default_token_t<Executor>>
auto async_download(
    basic_connection<Executor>& conn, volume_locator from, std::filesystem::path to,
    transfer_options options = {}, Token&& token = {})
{
    return asio::async_initiate<Token, void(error_code, progress)>(
        detail::initiation(conn, detail::launch_file_transfer<&detail::async_download>()), token,
        std::move(from), std::move(to), std::move(options));
}

/// Asynchronously uploads a file into a volume.
///
/// Afterwards the volume has the content of the file, from the offset on. libvirt keeps the data that is in
/// the place of a hole. Therefore holes of the file, and runs of zeros, are sent as holes only if the volume
/// has no data there nor behind: if it has none at all (volume_info::allocation is 0), or if it ends with a
/// hole, and the upload is resumed and goes up to the end of the volume. Elsewhere zeros are sent, which the
/// volume stores. For a sparse result, create the volume anew.
///
/// If the transfer fails or is cancelled, the volume contains a part of the file. It may be shorter than
/// before, because of how libvirt treats holes: until the upload is resumed, if the file is as large as the
/// volume, and otherwise for good, unless resume was set from the beginning.
///
/// The stream has a connection of its own, if that is possible, and the file is read on worker threads only.
///
/// @param conn The connection. It must be open when the operation is launched, and remain open until the
/// volume is being transferred.
/// @param from The path of the file, or block device.
/// @param to The volume. It must exist.
/// @param options
/// @li offset: the place in the volume at which the content of the file begins. length: the maximum number of
/// bytes of the file.
/// @li sparse: whether holes are sent as such at all.
/// @li resume: downloads what an earlier upload has left, which counts as progress as far as it equals the
/// file, and continues there. The size of a volume that is a file is not checked.
/// @li verify: downloads the volume again when everything has been sent, and compares. This finds out if
/// the storage was full: libvirt does not always report that.
/// @li bytes_per_second, on_progress, limits.
/// @param token The completion token.
///
/// @par Completion signature
/// `void(error_code, progress)`
///
/// @par Errors
/// @li error::not_open: the connection is not open.
/// @li condition::not_found: no such pool or volume.
/// @li condition::no_space: the storage is full; or the file does not fit into the volume from the offset on,
/// in which case nothing was sent and the details contain the sizes.
/// @li condition::busy: the volume is being built.
/// @li std::errc::no_such_file_or_directory, condition::denied, std::errc::is_a_directory,
/// condition::not_supported (it is neither a regular file nor a block device) and other errors of files. The
/// details name the file.
/// @li std::errc::io_error: the file has shrunk while it was read; if it grows, what is added is not sent.
/// @li error::verification_failed: the details name the file, the volume and the offset of the first
/// difference.
/// @li error::call_threw: on_progress threw an exception that carries no error code.
/// @li condition::connection_lost and libvirt's errors.
///
/// @par Per-operation cancellation
/// Terminal, partial and total. While the daemon is asked for the volume's size, a terminal cancellation
/// costs the connection, as of basic_connection::async_call(); total or partial cancellation never does.
///
/// @par libvirt
/// virStorageVolGetInfo, virStorageVolGetInfoFlags, virStorageVolUpload, virStorageVolDownload,
/// virStreamSend, virStreamSendHole, virStreamFinish.
///
/// @code
/// avirt::transfer_options options;
/// options.verify = true;
/// const auto moved =
///     co_await avirt::async_upload(conn, "/backup/disk.img", {"default", "disk.img"}, options);
/// @endcode
template <
    class Executor,
    BOOST_ASIO_COMPLETION_TOKEN_FOR(void(error_code, progress)) Token = detail::default_token_t<Executor>>
auto async_upload(
    basic_connection<Executor>& conn, std::filesystem::path from, volume_locator to,
    transfer_options options = {}, Token&& token = {})
{
    return asio::async_initiate<Token, void(error_code, progress)>(
        detail::initiation(conn, detail::launch_file_transfer<&detail::async_upload>()), token,
        std::move(from), std::move(to), std::move(options));
}

} // namespace avirt
