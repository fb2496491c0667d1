// SPDX-License-Identifier: BSL-1.0

// Which loop serves libvirt, and what happens to watches and timeouts when the loop changes.
#include "files.hpp"
#include "lifecycle_child.hpp"
#include "lifecycle_probe.hpp"

#include <avirt/error.hpp>
#include <avirt/event_loop.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/test/unit_test.hpp>

#include <optional>
#include <vector>

namespace conformance {
namespace {

namespace asio = boost::asio;

constexpr int readable = VIR_EVENT_HANDLE_READABLE;
constexpr int writable = VIR_EVENT_HANDLE_WRITABLE;

template <class Context>
void expect_refused(Context& context, avirt::error expected)
{
    try {
        const avirt::event_loop loop{context};
    }
    catch (const boost::system::system_error& e) {
        expect(e.code() == expected, "the loop was refused for another reason");
        return;
    }
    expect(false, "the loop was not refused");
}

void run_until_freed(asio::io_context& io, probe& item)
{
    while (item.frees() == 0) {
        io.restart();
        io.run_one();
    }
}

void expect_served(asio::io_context& io)
{
    probe timer{[](probe& self) { self.remove(); }};
    expect(timer.timer(0) > 0, "add failed");
    run_until_freed(io, timer);
    expect(timer.calls() == 1 && timer.frees() == 1, "the timeout did not fire once");
}

struct own_implementation
{
    static inline int added = 0;
    static inline int removed = 0;

    static int add_handle(int, int, virEventHandleCallback, void*, virFreeCallback)
    {
        return ++added;
    }
    static void update(int, int) {}
    static int remove_handle(int)
    {
        return ++removed, 0;
    }
    static int add_timeout(int, virEventTimeoutCallback, void*, virFreeCallback)
    {
        return ++added;
    }
    static int remove_timeout(int)
    {
        return ++removed, 0;
    }
};

} // namespace

BOOST_AUTO_TEST_SUITE(
    lifecycle_binding,
    *boost::unit_test::description(
        "Which loop serves libvirt, and what happens to watches and timeouts when the loop changes."))

BOOST_AUTO_TEST_CASE(a_second_loop_is_refused)
{
    expect_success([] {
        asio::io_context io;
        asio::io_context other;
        std::optional<avirt::event_loop> loop;
        loop.emplace(io);
        expect_refused(io, avirt::error::event_loop_in_use);
        expect_refused(other, avirt::error::event_loop_in_use);
        expect_served(io);
        loop.reset();
        loop.emplace(other);
        expect_served(other);
        expect_refused(io, avirt::error::event_loop_in_use);
    });
}

BOOST_AUTO_TEST_CASE(libvirts_own_loop_is_detected_and_left_alone)
{
    // libvirt may warn on stderr that it has an implementation already.
    const auto result = run_in_child([] {
        expect(
            virInitialize() == 0 && virEventRegisterDefaultImpl() == 0,
            "libvirt's loop cannot be registered");
        asio::io_context io;
        expect_refused(io, avirt::error::foreign_event_loop);
        expect_refused(io, avirt::error::foreign_event_loop);
        probe timer{[](probe& self) { self.remove(); }};
        timer.timer(0);
        while (timer.frees() == 0)
            virEventRunDefaultImpl();
        expect(timer.calls() == 1, "libvirt's own loop no longer works");
    });
    BOOST_TEST(result.exit_code == 0);
}

BOOST_AUTO_TEST_CASE(a_foreign_loop_is_detected_and_left_unchanged)
{
    // libvirt may warn on stderr that it has an implementation already.
    const auto result = run_in_child([] {
        using own = own_implementation;
        virInitialize();
        virEventRegisterImpl(
            own::add_handle, own::update, own::remove_handle, own::add_timeout, own::update,
            own::remove_timeout);
        asio::io_context io;
        expect_refused(io, avirt::error::foreign_event_loop);
        expect(own::added == own::removed, "something was left behind in the foreign loop");
        probe timer;
        expect(timer.timer(0) == own::added, "the foreign loop is no longer in charge");
    });
    BOOST_TEST(result.exit_code == 0);
}

BOOST_AUTO_TEST_CASE(libvirts_own_loop_does_not_displace_avirts)
{
    // libvirt warns on stderr.
    const auto result = run_in_child([] {
        asio::io_context io;
        const avirt::event_loop loop{io};
        expect(virEventRegisterDefaultImpl() == 0, "libvirt refuses a second implementation");
        expect_served(io);
    });
    BOOST_TEST(result.exit_code == 0);
}

BOOST_AUTO_TEST_CASE(without_a_loop_everything_can_be_removed_and_nothing_added)
{
    expect_success([] {
        const auto ends = make_pipe();
        asio::io_context io;
        std::optional<avirt::event_loop> loop;
        loop.emplace(io);
        probe watch;
        probe timer;
        probe refused;
        watch.watch(ends.writer.get(), writable);
        timer.timer(0);
        const auto caller = std::this_thread::get_id();
        std::atomic<int> elsewhere{0};
        for (auto* item : {&watch, &timer})
            item->when_freed([&] { elsewhere += std::this_thread::get_id() != caller ? 1 : 0; });
        loop.reset();

        expect(refused.watch(ends.writer.get(), writable) == -1, "a watch was added");
        expect(refused.timer(0) == -1, "a timeout was added");
        watch.update(0);
        timer.update(-1);
        expect(watch.remove() == 0 && timer.remove() == 0, "remove failed");
        expect(watch.remove() == -1 && timer.remove() == -1, "a second removal succeeded");
        expect_eventually([&] { return watch.frees() == 1 && timer.frees() == 1; }, "not freed");
        expect(elsewhere == 2, "freed on the caller's thread");
        expect(!in_an_epoll_set(ends.writer.get()), "the kernel still watches");
        expect(watch.calls() == 0 && timer.calls() == 0, "called without a loop");
        expect(refused.frees() == 0, "what was not added was freed");
        loop.emplace(io);
        expect_served(io);
        expect(watch.frees() == 1 && timer.frees() == 1, "freed again");
    });
}

BOOST_AUTO_TEST_CASE(a_new_loop_takes_over_all_watches_and_timeouts)
{
    expect_success([] {
        const auto ends = make_pipe();
        probe watch{[](probe& self) { self.update(0); }};
        probe disabled;
        probe zero{[](probe& self) { self.update(-1); }};
        probe soon{[](probe& self) { self.update(-1); }};
        probe called_off;
        asio::io_context first;
        std::optional<avirt::event_loop> loop;
        loop.emplace(first);
        watch.watch(ends.reader.get(), readable);
        disabled.watch(ends.writer.get(), 0);
        zero.timer(0);
        soon.timer(1);
        called_off.timer(0);
        loop.reset();
        first.run();
        expect(zero.calls() + soon.calls() + called_off.calls() == 0, "called without a loop");
        put(ends.writer.get(), "x");
        called_off.update(-1);

        asio::io_context second;
        loop.emplace(second);
        expect(loop->stats().watches == 2 && loop->stats().timeouts == 3, "not everything was taken over");
        while (watch.calls() == 0 || zero.calls() == 0 || soon.calls() == 0)
            second.run_one();
        expect(watch.events() == readable, "other events were reported");
        disabled.update(writable);
        while (disabled.calls() == 0)
            second.run_one();
        probe added;
        expect(added.timer(-1) > called_off.id(), "an id was used again");
        for (auto* item : {&watch, &disabled, &zero, &soon, &called_off, &added})
            expect(item->remove() == 0, "remove failed");
        second.run();
        for (auto* item : {&watch, &disabled, &zero, &soon, &called_off, &added})
            expect(item->frees() == 1, "not freed");
        expect(called_off.calls() == 0, "called although disabled");
    });
}

BOOST_AUTO_TEST_CASE(loops_may_change_while_other_threads_add_and_remove)
{
    expect_success([] {
        constexpr int rounds = 50;
        std::atomic<bool> stop{false};
        std::atomic<int> added{0};
        std::atomic<int> freed{0};
        asio::io_context idle;
        std::optional<avirt::event_loop> loop;
        loop.emplace(idle);
        std::vector<std::thread> threads;
        for (int i = 0; i < 4; ++i)
            threads.emplace_back([&, i] {
                const auto ends = make_socket_pair();
                while (!stop) {
                    probe watch;
                    probe timer;
                    const bool has_watch = watch.watch(ends.ours.get(), i % 2 == 0 ? writable : readable) > 0;
                    const bool has_timer = timer.timer(i % 3 - 1) > 0;
                    watch.update(readable | writable);
                    timer.update(1);
                    expect(watch.remove() == (has_watch ? 0 : -1), "removing a watch had another result");
                    expect(timer.remove() == (has_timer ? 0 : -1), "removing a timeout had another result");
                    added += (has_watch ? 1 : 0) + (has_timer ? 1 : 0);
                    expect_eventually(
                        [&] {
                            return watch.frees() == (has_watch ? 1 : 0)
                                && timer.frees() == (has_timer ? 1 : 0);
                        },
                        "not freed");
                    freed += watch.frees() + timer.frees();
                }
            });
        loop.reset();
        for (int i = 0; i < rounds; ++i) {
            asio::io_context io;
            loop.emplace(io);
            const int before = freed;
            expect_eventually(
                [&] {
                    io.restart();
                    io.poll();
                    return freed > before + 4;
                },
                "the loop frees nothing");
            loop.reset();
        }
        stop = true;
        for (auto& thread : threads)
            thread.join();
        expect(added == freed, "something was not freed");
    });
}

BOOST_AUTO_TEST_CASE(any_executor_can_run_the_loop)
{
    expect_success([] {
        for (int kind = 0; kind < 4; ++kind) {
            asio::thread_pool pool{4};
            asio::any_io_executor executor = pool.get_executor();
            if (kind == 1)
                executor = asio::make_strand(pool);
            if (kind == 2)
                executor = asio::make_strand(executor);
            std::optional<avirt::event_loop> loop;
            if (kind == 3)
                loop.emplace(pool);
            else
                loop.emplace(executor);
            expect(kind == 3 || loop->get_executor() == executor, "the loop has another executor");
            const auto ends = make_socket_pair();
            put(ends.peer.get(), "x");
            probe watch{[](probe& self) { self.remove(); }};
            probe timer{[](probe& self) {
                if (self.calls() == 10)
                    self.remove();
            }};
            watch.watch(ends.ours.get(), readable);
            timer.timer(0);
            expect_eventually([&] { return watch.frees() == 1 && timer.frees() == 1; }, "not served");
            expect(watch.calls() == 1 && timer.calls() == 10, "not called as often as asked");
            pool.join();
        }
    });
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace conformance
