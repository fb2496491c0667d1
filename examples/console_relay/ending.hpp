// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>

#include <exception>
#include <string>
#include <utility>
#include <variant>

namespace asio = boost::asio;

/// The program's exit status. It is 128 + n if signal n ended the program.
enum exit_status {
    succeeded = 0,
    failed = 1,
    bad_usage = 2,
    console_ended = 3,
};

/// Why the program ends: its exit status, and a sentence for the user. Thrown if the reason is a failure.
class ending : public std::exception
{
public:
    ending() = default; // For asio::co_spawn.

    ending(int status, std::string sentence) : status_(status), sentence_(std::move(sentence)) {}

    int status() const noexcept
    {
        return status_;
    }

    const char* what() const noexcept override
    {
        return sentence_.c_str();
    }

private:
    int status_ = failed;
    std::string sentence_;
};

/// Runs the activity, and turns its exceptions into endings: if one operand of Asio's operator|| throws, the
/// operator waits for the other.
inline asio::awaitable<ending> caught(asio::awaitable<ending> activity)
{
    try {
        co_return co_await std::move(activity);
    }
    catch (const ending& e) {
        co_return e;
    }
    catch (const std::exception& e) {
        co_return ending(failed, e.what());
    }
}

/// The ending of the activity that ends first. The other one is cancelled.
inline asio::awaitable<ending> first_of(asio::awaitable<ending> one, asio::awaitable<ending> other)
{
    using namespace asio::experimental::awaitable_operators;
    auto first = co_await (caught(std::move(one)) || caught(std::move(other)));
    co_return std::visit([](ending& e) { return std::move(e); }, first);
}
