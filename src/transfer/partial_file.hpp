// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "core/unique_fd.hpp"

#include <avirt/detail/failure.hpp>

#include <boost/asio/buffer.hpp>

#include <cstdint>
#include <filesystem>
#include <string>

namespace avirt::detail {

/// A file that is written beside its target, under a temporary name, and takes the target's place when it is
/// complete. For worker threads: every function may block.
///
/// The temporary name of "disk.img" is ".disk.img.part". It is the same for each transfer to that target, so
/// that an interrupted one can be resumed, and the file is locked, so that two transfers do not mix.
class partial_file
{
public:
    /// @param resumes Whether what an earlier transfer left is kept, and what this one leaves, too.
    partial_file(std::filesystem::path target, bool resumes);

    /// Closes the file. If it is not complete, removes it, unless it resumes and there is something to
    /// resume.
    ~partial_file();
    partial_file(const partial_file&) = delete;
    partial_file& operator=(const partial_file&) = delete;

    /// Opens and locks the file, and empties it unless it resumes.
    failure open();

    /// The number of bytes that open() has found.
    std::uint64_t found() const noexcept
    {
        return found_;
    }

    /// Writes at the end of what has been written or skipped so far.
    failure write(asio::const_buffer data);

    /// Leaves a hole at the end.
    void skip(std::uint64_t length) noexcept
    {
        end_ += length;
    }

    /// Empties the file.
    failure restart();

    /// Makes what has been written and skipped so far readable.
    failure flush();

    /// Another descriptor of the file, to read it.
    unique_fd duplicate() const noexcept;

    const std::filesystem::path& target() const noexcept
    {
        return target_;
    }

    /// Flushes the file to the disk.
    failure sync();
    /// Gives the file, which is on the disk, the target's name.
    failure rename();

    /// Removes the file although it resumes: its content is wrong.
    void spoil() noexcept
    {
        resumes_ = false;
    }

private:
    failure open_directory();
    failure check_target();
    failure open_locked(bool& is_current);
    failure failed_to(const char* what, int number = errno) const;

    std::filesystem::path target_;
    std::string name_;
    std::string part_;
    bool resumes_;
    bool is_complete_ = false;
    unsigned mode_ = 0; // of the file that is replaced; 0: none is
    unique_fd directory_;
    unique_fd file_;
    std::uint64_t found_ = 0;
    std::uint64_t end_ = 0;
};

} // namespace avirt::detail
