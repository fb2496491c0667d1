// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

inline std::string content(const std::filesystem::path& path)
{
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

/// A running example and its output.
class example
{
public:
    example(const char* path, std::vector<std::string> arguments, std::filesystem::path output)
        : output_(std::move(output))
    {
        std::vector<char*> argv{const_cast<char*>(path)};
        for (auto& argument : arguments)
            argv.push_back(argument.data());
        argv.push_back(nullptr);
        const auto parent = ::getpid();
        pid_ = ::fork();
        if (pid_ != 0)
            return;
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        const int fd = ::open(output_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
        if (::getppid() != parent || ::dup2(fd, 1) < 0 || ::dup2(fd, 2) < 0)
            ::_exit(126);
        ::execv(path, argv.data());
        ::_exit(127);
    }

    ~example()
    {
        if (pid_ > 0)
            end(SIGKILL);
    }

    example(const example&) = delete;
    example& operator=(const example&) = delete;

    /// Sends the signal. Returns the exit status, or 128 + n if signal n ended the example.
    int end(int signal)
    {
        ::kill(pid_, signal);
        int status = 0;
        ::waitpid(std::exchange(pid_, -1), &status, 0);
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }

    std::string printed() const
    {
        return content(output_);
    }

    bool has_printed(const std::string& text) const
    {
        return printed().find(text) != std::string::npos;
    }

protected:
    void signal(int number) const
    {
        ::kill(pid_, number);
    }

    pid_t pid() const noexcept
    {
        return pid_;
    }

private:
    const std::filesystem::path output_;
    pid_t pid_ = -1;
};
