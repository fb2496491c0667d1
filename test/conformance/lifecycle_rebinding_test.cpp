// SPDX-License-Identifier: BSL-1.0

// Loops on contexts of every kind, one after the other.
#include "files.hpp"
#include "lifecycle_child.hpp"
#include "lifecycle_probe.hpp"

#include <avirt/error.hpp>
#include <avirt/event_loop.hpp>

#include <support/gate.hpp>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/test/unit_test.hpp>

#include <functional>
#include <optional>
#include <vector>

namespace conformance {
namespace {

namespace asio = boost::asio;

constexpr int readable = VIR_EVENT_HANDLE_READABLE;

/// A context of some kind, a loop on it, and the threads that run it.
class place
{
public:
    enum class kind { one_thread, four_threads, pool, strand };

    explicit place(kind k) : pool_{k == kind::pool || k == kind::strand ? 4u : 1u}
    {
        switch (k) {
        case kind::pool:
            loop.emplace(pool_);
            break;
        case kind::strand:
            loop.emplace(asio::make_strand(pool_));
            break;
        default:
            loop.emplace(io_);
            for (int i = 0; i < (k == kind::one_thread ? 1 : 4); ++i)
                threads_.emplace_back([this] { io_.run(); });
        }
    }

    ~place()
    {
        loop.reset(); // What is still registered would keep the threads running.
        pool_.join();
        work_.reset();
        for (auto& t : threads_)
            t.join();
    }

private:
    asio::thread_pool pool_;
    asio::io_context io_;
    asio::executor_work_guard<asio::io_context::executor_type> work_{io_.get_executor()};
    std::vector<std::thread> threads_;

public:
    std::optional<avirt::event_loop> loop;
};

constexpr place::kind kinds[] = {
    place::kind::one_thread, place::kind::four_threads, place::kind::pool, place::kind::strand};

/// Counts the domain events of libvirt's test driver, which arrive through the loop that libvirt has.
class test_connection
{
public:
    test_connection()
    {
        expect(connection_ != nullptr, "not opened");
        const auto note = [](virConnectPtr, virDomainPtr, int, int, void* count) {
            ++*static_cast<std::atomic<int>*>(count);
        };
        id_ = virConnectDomainEventRegisterAny(
            connection_, nullptr, VIR_DOMAIN_EVENT_ID_LIFECYCLE, VIR_DOMAIN_EVENT_CALLBACK(+note), &count_,
            nullptr);
        expect(id_ >= 0, "not registered");
    }

    ~test_connection()
    {
        virConnectDomainEventDeregisterAny(connection_, id_);
        expect(virConnectClose(connection_) == 0, "the connection is still held");
    }

    void provoke()
    {
        virDomainPtr domain = virDomainLookupByName(connection_, "test");
        expect(domain && virDomainSuspend(domain) == 0 && virDomainResume(domain) == 0, "not provoked");
        virDomainFree(domain);
    }

    int count() const noexcept
    {
        return count_;
    }

private:
    virConnectPtr connection_ = virConnectOpen("test:///default");
    int id_ = -1;
    std::atomic<int> count_{0};
};

} // namespace

BOOST_AUTO_TEST_SUITE(lifecycle_rebinding)

BOOST_AUTO_TEST_CASE(watches_and_timeouts_move_from_any_context_to_any_other)
{
    expect_success([] {
        std::optional<place> here{std::in_place, place::kind::one_thread};
        const auto ends = make_socket_pair();
        std::atomic<int> running{0};
        const auto alone = [&](const std::function<void()>& f) {
            expect(++running == 1, "two callbacks at the same time");
            f();
            --running;
        };
        probe watch{[&](probe&) { alone([&] { take(ends.ours.get(), 1); }); }};
        probe zero{[&](probe&) { alone([] {}); }};
        probe soon{[&](probe&) { alone([] {}); }};
        watch.watch(ends.ours.get(), readable);
        zero.timer(0);
        soon.timer(1);
        test_connection connection;
        for (const auto from : kinds)
            for (const auto to : kinds)
                for (const auto next : {from, to}) {
                    here.reset();
                    const int calls[] = {watch.calls(), zero.calls(), soon.calls()};
                    const int events = connection.count();
                    put(ends.peer.get(), "x");
                    here.emplace(next);
                    expect_eventually(
                        [&] {
                            return watch.calls() > calls[0] && zero.calls() > calls[1]
                                && soon.calls() > calls[2];
                        },
                        "not served");
                    connection.provoke();
                    expect_eventually(
                        [&] { return connection.count() == events + 2; }, "the events did not arrive");
                }
        for (auto* item : {&watch, &zero, &soon}) {
            item->remove();
            expect_eventually([&] { return item->frees() == 1; }, "not freed");
        }
    });
}

BOOST_AUTO_TEST_CASE(run_waits_for_a_free_callback_that_began_before_the_loop_was_bound)
{
    expect_success([] {
        probe removed;
        support::gate gate;
        asio::io_context io;
        std::optional<avirt::event_loop> loop{std::in_place, io};
        removed.when_freed(gate.entry());
        removed.timer(-1);
        loop.reset();
        removed.remove();
        expect_eventually([&] { return gate.arrived() == 1; }, "not freed");
        loop.emplace(io);
        for (int i = 0; i < 100; ++i)
            io.poll();
        expect(!io.stopped() && !loop->is_idle(), "run() would return");
        gate.open();
        io.run();
        expect(removed.frees() == 1 && loop->is_idle(), "run() returned too early");
    });
}

BOOST_AUTO_TEST_CASE(libvirts_own_loop_keeps_the_connections_that_use_it)
{
    // libvirt may warn on stderr that it has an implementation already.
    const auto result = run_in_child([] {
        expect(
            virInitialize() == 0 && virEventRegisterDefaultImpl() == 0,
            "libvirt's loop cannot be registered");
        test_connection connection;
        asio::io_context io;
        for (int i = 1; i <= 3; ++i) {
            try {
                const avirt::event_loop loop{io};
                expect(false, "the loop was not refused");
            }
            catch (const avirt::exception& e) {
                expect(e.code() == avirt::error::foreign_event_loop, "refused for another reason");
            }
            connection.provoke();
            while (connection.count() != 2 * i)
                virEventRunDefaultImpl();
        }
        expect(io.run() == 0, "something was left behind on the context");
    });
    BOOST_TEST(result.exit_code == 0);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace conformance
