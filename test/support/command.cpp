// SPDX-License-Identifier: BSL-1.0
#include "support/command.hpp"

#include <stdexcept>

#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

namespace support {
namespace {

std::string content_of(int fd)
{
    std::string text(static_cast<std::size_t>(::lseek(fd, 0, SEEK_END)), '\0');
    const auto n = ::pread(fd, text.data(), text.size(), 0);
    text.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    return text;
}

} // namespace

void run_command(std::vector<std::string> arguments, std::string_view input)
{
    std::vector<char*> argv;
    for (auto& argument : arguments)
        argv.push_back(argument.data());
    argv.push_back(nullptr);
    const int input_fd = ::memfd_create("input", MFD_CLOEXEC);
    if (::pwrite(input_fd, input.data(), input.size(), 0) != static_cast<ssize_t>(input.size()))
        throw std::runtime_error("memfd_create");
    const int output = ::memfd_create("output", MFD_CLOEXEC);
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, input_fd, STDIN_FILENO);
    ::posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
    ::posix_spawn_file_actions_adddup2(&actions, output, STDERR_FILENO);
    pid_t child = -1;
    int status = -1;
    const bool was_run = ::posix_spawnp(&child, argv[0], &actions, nullptr, argv.data(), environ) == 0
        && ::waitpid(child, &status, 0) == child;
    ::posix_spawn_file_actions_destroy(&actions);
    const auto printed = content_of(output);
    ::close(output);
    ::close(input_fd);
    if (!was_run || status != 0)
        throw std::runtime_error(arguments[0] + " failed: " + printed);
}

} // namespace support
