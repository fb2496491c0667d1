// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "core/fork_gate.hpp"
#include "host/domain_follower.hpp"

#include <avirt/detail/failure.hpp>
#include <avirt/detail/supervisor_impl.hpp>
#include <avirt/domain_status.hpp>
#include <avirt/host_report.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>

#include <cstddef>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace avirt::detail {

/// What the console sessions of one host have in common: one receiver of its reports, whatever the number of
/// sessions and domains, and the limit of the consoles that are being opened.
class host_consoles : public std::enable_shared_from_this<host_consoles>
{
public:
    explicit host_consoles(const asio::any_io_executor& executor);

    /// Tells the follower the present state of the host, and what changes. The first call starts the
    /// supervision of the host.
    void add(const std::shared_ptr<domain_follower>& follower, std::shared_ptr<supervisor_impl> host);

    /// Forgets the context, which ends.
    void shutdown() noexcept;

    /// Asks for the follower's turn to open a console.
    void open(std::weak_ptr<domain_follower> follower);
    /// Returns whether the follower was waiting for its turn, which does not come then.
    bool withdraw(const domain_follower& follower);
    /// The console is open, or has failed to open.
    void opened();

private:
    static asio::awaitable<void> follow(
        std::shared_ptr<host_consoles> self, std::shared_ptr<supervisor_impl> host);
    void on_report(const host_report& report);
    void on_end(const failure& why);
    template <class Tell>
    void tell_all(Tell tell);
    void tell_present(domain_follower& follower) const;

    static constexpr std::size_t max_opening = 8;

    fork_safe_mutex mutex_;
    asio::any_io_executor strand_; // on which the followers are told; empty: the context has ended
    bool is_started_ = false;

    std::size_t opening_ = 0;
    std::deque<std::weak_ptr<domain_follower>> waiting_; // to open a console

    // Used on the strand.
    enum class phase { unknown, away, connected, closed } phase_ = phase::unknown;
    failure why_;                                  // it is away or closed
    std::map<std::string, domain_status> domains_; // by UUID; without handles
    std::vector<std::weak_ptr<domain_follower>> followers_;
};

} // namespace avirt::detail
