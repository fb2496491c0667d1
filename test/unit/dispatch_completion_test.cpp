// SPDX-License-Identifier: BSL-1.0
#include "core/dispatch_completion.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>
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

    /// Calls function() as a handler of the context, which invokes no other handler.
    void run_in_context(const std::function<void()>& function)
    {
        asio::post(io, function);
        io.restart();
        io.run_one();
    }

    void poll(asio::io_context& context)
    {
        context.restart();
        context.poll();
    }
};

BOOST_FIXTURE_TEST_SUITE(dispatch_completions, fixture)

BOOST_AUTO_TEST_CASE(the_first_is_invoked_after_the_dispatch)
{
    run_in_context([this] {
        dispatch_completion completion(&io);
        defer(io, 'a');
        BOOST_TEST(dispatch_completion::is_waiting());
        BOOST_TEST(invoked == "");
        completion.run();
        BOOST_TEST(invoked == "a");
        BOOST_TEST(!dispatch_completion::is_waiting());
    });
}

BOOST_AUTO_TEST_CASE(all_others_are_posted)
{
    run_in_context([this] {
        dispatch_completion completion(&io);
        defer(io, 'a');
        defer(io, 'b');
        completion.run();
        BOOST_TEST(invoked == "a");
    });
    poll(io);
    BOOST_TEST(invoked == "ab");
}

BOOST_AUTO_TEST_CASE(that_of_another_context_is_posted)
{
    run_in_context([this] {
        dispatch_completion completion(&io);
        defer(other, 'a');
        BOOST_TEST(!dispatch_completion::is_waiting());
        completion.run();
        BOOST_TEST(invoked == "");
    });
    poll(other);
    BOOST_TEST(invoked == "a");
}

BOOST_AUTO_TEST_CASE(all_are_posted_without_a_dispatch_or_if_it_has_no_context)
{
    run_in_context([this] {
        defer(io, 'a');
        dispatch_completion completion(nullptr);
        defer(io, 'b');
        completion.run();
        BOOST_TEST(invoked == "");
    });
    poll(io);
    BOOST_TEST(invoked == "ab");
}

BOOST_AUTO_TEST_CASE(that_of_a_strand_is_invoked_in_it)
{
    const auto strand = asio::make_strand(io);
    asio::post(strand, [&] {
        dispatch_completion completion(&io);
        dispatch_completion::defer(asio::make_strand(io), [&] { invoked += 'a'; });
        completion.run();
        BOOST_TEST(invoked == "a"); // That strand is free.
    });
    poll(io);
    run_in_context([&] {
        dispatch_completion completion(&io);
        dispatch_completion::defer(strand, [&] {
            BOOST_TEST(strand.running_in_this_thread());
            invoked += 'b';
        });
        completion.run();
    });
    poll(io);
    BOOST_TEST(invoked == "ab");
}

BOOST_AUTO_TEST_CASE(its_handler_is_not_part_of_the_dispatch)
{
    run_in_context([this] {
        dispatch_completion completion(&io);
        dispatch_completion::defer(io.get_executor(), [this] { defer(io, 'a'); });
        completion.run();
        BOOST_TEST(invoked == "");
    });
    poll(io);
    BOOST_TEST(invoked == "a");
}

BOOST_AUTO_TEST_CASE(it_is_posted_if_the_dispatch_throws)
{
    const auto dispatch = [this] {
        const dispatch_completion completion(&io);
        defer(io, 'a');
        throw std::runtime_error("thrown by a callback");
    };
    BOOST_CHECK_THROW(run_in_context(dispatch), std::runtime_error);
    BOOST_TEST(invoked == "");
    poll(io);
    BOOST_TEST(invoked == "a");
}

BOOST_AUTO_TEST_CASE(a_callback_runs_the_context)
{
    run_in_context([this] {
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
    });
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
