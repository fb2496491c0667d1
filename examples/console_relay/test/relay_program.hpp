// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <sys/types.h>
#include <termios.h>

namespace relay_test {

/// How long a test waits at most for anything.
constexpr auto limit = std::chrono::seconds(60);

/// Polls until the condition holds; throws if it does not hold in time.
void wait_until(const std::string& what, const std::function<bool()>& condition);

/// A directory in which every user may create files, and the TMPDIR of programs that are run meanwhile.
///
/// When it is destroyed, it has to be empty, and no process may be left that knows its path.
class private_directory
{
public:
    private_directory();
    ~private_directory();
    private_directory(const private_directory&) = delete;
    private_directory& operator=(const private_directory&) = delete;

    const std::string& path() const noexcept
    {
        return path_;
    }

    /// Living processes that have the path in their arguments or environment.
    std::vector<pid_t> users() const;

private:
    std::string path_;
    std::string before_;
};

/// A file descriptor.
class file
{
public:
    file() = default;
    explicit file(int fd) : fd_(fd) {}
    file(file&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    file& operator=(file&& other) noexcept;
    ~file();

    int get() const noexcept
    {
        return fd_;
    }

    bool is_open() const noexcept
    {
        return fd_ >= 0;
    }

    void close();

private:
    int fd_ = -1;
};

/// console_relay, run with pipes or a terminal.
class relay_program
{
public:
    using arguments = std::vector<std::string>;

    /// Pipes as standard input, output and error.
    struct pipes
    {
        std::string input_file{}; ///< If not empty, standard input instead of a pipe.
    };
    /// What a terminal is used for.
    enum class terminal { input_and_output, all_three };

    explicit relay_program(const arguments& args) : relay_program(args, pipes()) {}
    relay_program(const arguments& args, const pipes& what);
    relay_program(const arguments& args, terminal what);
    ~relay_program(); // Kills the relay.
    relay_program(const relay_program&) = delete;
    relay_program& operator=(const relay_program&) = delete;

    void type(std::string_view input);
    void end_input();
    void close_output();

    /// Waits for the text on standard output or standard error; returns everything up to its end.
    std::string output(std::string_view text);
    std::string errors(std::string_view text);

    /// Waits until the relay has ended, and returns its exit status; 128 + n if signal n killed it.
    int status();

    /// Output that no test has waited for, once the relay has ended.
    const std::string& rest_of_output() const noexcept
    {
        return output_.text;
    }

    const std::string& rest_of_errors() const noexcept
    {
        return errors_.text;
    }

    /// The state of the terminal as its other users see it.
    bool is_raw() const;
    bool is_as_before() const;
    bool is_nonblocking() const;

    pid_t pid() const noexcept
    {
        return pid_;
    }

    void send_signal(int signal) const;
    /// Whether the relay has installed a handler for the signal.
    bool catches(int signal) const;

    /// Stops the relay, and lets it continue.
    void freeze() const;
    void thaw() const;

private:
    struct source
    {
        file from{};
        std::string text{};
    };

    void start(const arguments& args, int in, int out, int err);
    std::string expect(source& s, std::string_view text, const char* name);
    bool read_some(int timeout);

    pid_t pid_ = -1;
    file process_; // a pidfd
    file input_;   // or the terminal
    file slave_;   // the relay's side of the terminal
    termios before_{};
    source output_;
    source errors_;
};

/// A client of the relay.
class client
{
public:
    /// Connects to "tcp:ADDRESS:PORT" or "unix:PATH".
    explicit client(const std::string& address);

    void type(std::string_view input);
    std::string output(std::string_view text);

    /// Waits for the end of the stream; returns everything that has not been returned yet.
    std::string rest();

    /// The number of bytes that wait to be read.
    int unread() const;

    /// Ends the client's output.
    void end_input();

    void close();

private:
    bool read_some(std::string_view awaited);

    file socket_;
    std::string text_;
};

} // namespace relay_test
