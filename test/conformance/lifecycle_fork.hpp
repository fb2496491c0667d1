// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "files.hpp"
#include "lifecycle_child.hpp"
#include "lifecycle_probe.hpp"

#include <avirt/event_loop.hpp>

#include <boost/asio/io_context.hpp>

#include <unistd.h>

#include <optional>

namespace conformance {

namespace asio = boost::asio;

/// Forks a child of the test's child, which runs `body` and exits. `body` must not throw.
template <class Body>
int fork_child(Body body)
{
    const auto pid = ::fork();
    if (pid == 0) {
        ::alarm(60);
        body();
        ::_exit(0);
    }
    return pid;
}

inline void execute()
{
    ::execl("/bin/sh", "sh", "-c", "exit 7", nullptr);
}

/// A loop with a watch on a pipe, and a check that the loop works.
struct watched_pipe
{
    pipe_ends ends = make_pipe();
    asio::io_context io;
    std::optional<avirt::event_loop> loop{std::in_place, io};
    probe watch{[this](probe&) { take(ends.reader.get(), 1); }};
    probe sleeping;

    void add()
    {
        watch.watch(ends.reader.get(), VIR_EVENT_HANDLE_READABLE);
        sleeping.timer(3'600'000);
    }

    void expect_works(asio::io_context& context)
    {
        const int before = watch.calls();
        put(ends.writer.get(), "x");
        while (watch.calls() == before)
            context.run_one();
        probe timer{[](probe& self) { self.remove(); }};
        expect(timer.timer(1) > 0, "add failed");
        while (timer.frees() == 0)
            context.run_one();
        expect(timer.calls() == 1, "the timeout did not fire once");
    }

    void expect_works()
    {
        expect_works(io);
    }

    void finish(asio::io_context& context)
    {
        watch.remove();
        sleeping.remove();
        context.restart();
        context.run();
        expect(watch.frees() == 1 && sleeping.frees() == 1, "not freed");
    }

    void finish()
    {
        finish(io);
    }

    void come_to_rest()
    {
        while (io.poll() != 0)
            continue;
    }

    void expect_child_changes_nothing(int pid, int exit_code)
    {
        expect(wait_for(pid) == exit_code, "the child failed");
        expect(in_an_epoll_set(ends.reader.get()), "the parent no longer watches the pipe");
        expect_works();
    }
};

} // namespace conformance
