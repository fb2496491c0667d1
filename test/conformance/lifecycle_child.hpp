// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <boost/assert/source_location.hpp>

#include <functional>
#include <string>

namespace conformance {

/// How a child ended.
struct child_result
{
    int exit_code = -1; // -1: it was killed, or did not reach `body`
    int signal = 0;
    std::string errors; // what it wrote to stderr
};

/// Runs `body` in a process of its own, because the state of libvirt and avirt is process-wide. That process
/// runs this program again with the same case, executes only `body` in it, and ends by returning from main().
/// SIGALRM kills it if it hangs.
child_result run_in_child(const std::function<void()>& body);

/// Does the same, and checks that the child succeeds without writing to stderr.
void expect_success(const std::function<void()>& body);

/// For use in a child, where Boost.Test is not available: if `holds` is false, reports that and ends the
/// child.
void expect(bool holds, const char* what, const boost::source_location& where = BOOST_CURRENT_LOCATION);

/// For use in a child: waits until other threads have made the condition true.
void expect_eventually(
    const std::function<bool()>& condition, const char* what,
    const boost::source_location& where = BOOST_CURRENT_LOCATION);

/// Waits for a process that was started in a child. Returns its exit code, or -1 if it has none.
int wait_for(int pid);

} // namespace conformance
