// SPDX-License-Identifier: BSL-1.0
#include "crowd_fixture.hpp"

#include "visitor.hpp"

#include <exception>
#include <memory>

#include <sys/resource.h>

namespace {

/// Lets this process and the daemons that it starts open as many files as it may allow itself.
void raise_file_limit()
{
    rlimit files{};
    ::getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &files);
}

} // namespace

crowd_daemon::crowd_daemon() : own((raise_file_limit(), support::libvirtd::kind::session)) {}

crowd_fixture::crowd_fixture() : remote_fixture(own)
{
    for (std::size_t i = 0; i < at_a_time; ++i) {
        uploads[i] = daemon.make_volume("upload" + std::to_string(i), 0);
        free_uploads.push_back(i);
    }
    content_of_volume = content(make_volume("download", volume_size));
    start_guest("echo", avirt_demo_guest);
    start_guest("mortal", avirt_demo_guest);
}

void crowd_fixture::let_in(std::size_t visitors)
try {
    for (std::size_t i = 0; i < visitors; ++i) {
        run_until([&] { return present.size() < at_a_time; });
        std::make_shared<visitor>(*this, i % 2 == 1)->start();
    }
    run_until([&] { return present.empty(); });
    run_until([&] {
        const auto stats = loop.stats();
        return daemon.clients() == 1 && stats.running_calls + stats.queued_calls + stats.abandoned_calls == 0;
    });
}
catch (const std::exception&) {
    for (const auto* v : present)
        BOOST_TEST_MESSAGE("still present: " << v->describe());
    const auto stats = loop.stats();
    BOOST_TEST_MESSAGE(
        daemon.clients() << " clients of the daemon, calls: " << stats.running_calls << " running, "
                         << stats.queued_calls << " queued, " << stats.abandoned_calls << " abandoned");
    throw;
}
