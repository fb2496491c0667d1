// SPDX-License-Identifier: BSL-1.0
#include "core/dispatch_completion.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/test/unit_test.hpp>

#include <functional>
#include <stdexcept>
#include <string>

namespace {

using avirt::detail::dispatch_completion;
namespace asio = boost::asio;

struct fixture
{
    asio::io_context io;
    asio::io_context other;
    std::string invoked{};

    void defer(asio::io_context& context, char name)
    {
        dispatch_completion::defer(context.get_executor(), [this, name] { invoked += name; });
    }
};

BOOST_FIXTURE_TEST_SUITE(dispatch_completions, fixture)

BOOST_AUTO_TEST_CASE(the_first_is_invoked_after_the_dispatch)
{
    dispatch_completion completion(&io);
    defer(io, 'a');
    BOOST_TEST(dispatch_completion::is_waiting());
    BOOST_TEST(io.poll() == 0u);
    BOOST_TEST(invoked == "");
    completion.run();
    BOOST_TEST(invoked == "a");
    BOOST_TEST(!dispatch_completion::is_waiting());
}

BOOST_AUTO_TEST_CASE(all_others_are_posted)
{
    dispatch_completion completion(&io);
    defer(io, 'a');
    defer(io, 'b');
    io.poll();
    BOOST_TEST(invoked == "b");
    completion.run();
    BOOST_TEST(invoked == "ba");
}

BOOST_AUTO_TEST_CASE(that_of_another_context_is_posted)
{
    dispatch_completion completion(&io);
    defer(other, 'a');
    BOOST_TEST(!dispatch_completion::is_waiting());
    completion.run();
    BOOST_TEST(invoked == "");
    other.poll();
    BOOST_TEST(invoked == "a");
}

BOOST_AUTO_TEST_CASE(all_are_posted_without_a_dispatch_or_if_it_has_no_context)
{
    defer(io, 'a');
    dispatch_completion completion(nullptr);
    defer(io, 'b');
    completion.run();
    BOOST_TEST(invoked == "");
    io.poll();
    BOOST_TEST(invoked == "ab");
}

BOOST_AUTO_TEST_CASE(its_handler_is_not_part_of_the_dispatch)
{
    dispatch_completion completion(&io);
    dispatch_completion::defer(io.get_executor(), [this] { defer(io, 'a'); });
    completion.run();
    BOOST_TEST(invoked == "");
    io.poll();
    BOOST_TEST(invoked == "a");
}

BOOST_AUTO_TEST_CASE(it_is_posted_if_the_dispatch_throws)
{
    const auto dispatch = [this] {
        const dispatch_completion completion(&io);
        defer(io, 'a');
        throw std::runtime_error("thrown by a callback");
    };
    BOOST_CHECK_THROW(dispatch(), std::runtime_error);
    BOOST_TEST(invoked == "");
    io.poll();
    BOOST_TEST(invoked == "a");
}

BOOST_AUTO_TEST_CASE(a_callback_runs_the_context)
{
    dispatch_completion completion(&io);
    defer(io, 'a');
    {
        dispatch_completion inner(&io);
        defer(io, 'b');
        inner.run();
    }
    BOOST_TEST(invoked == "b");
    completion.run();
    BOOST_TEST(invoked == "ba");
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
