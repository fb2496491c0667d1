// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <boost/assert/source_location.hpp>

#include <functional>
#include <string>

namespace conformance {

/// How a child ended.
struct child_result
{
    int exit_code = -1; // -1: killed, or `body` was never reached
    int signal = 0;
    std::string errors; // what it wrote to stderr
};

/// Runs `body` in a process of its own, so that it has libvirt's and avirt's process-wide state to itself.
/// The process is this program started anew, which runs the same case, does nothing but `body` there, and
/// leaves by returning from main(). It is killed by SIGALRM when it hangs.
child_result run_in_child(const std::function<void()>& body);

/// The same, and the child must succeed without writing to stderr.
void expect_success(const std::function<void()>& body);

/// Inside a child, where Boost.Test is out of reach: reports and ends the child when `holds` is false.
void expect(bool holds, const char* what, const boost::source_location& where = BOOST_CURRENT_LOCATION);

/// Inside a child: waits for the condition while other threads do their work.
void expect_eventually(
    const std::function<bool()>& condition, const char* what,
    const boost::source_location& where = BOOST_CURRENT_LOCATION);

/// Waits for a process started inside a child; returns its exit code, or -1.
int wait_for(int pid);

} // namespace conformance
