// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/event_source.hpp>
#include <support/outcome.hpp>

#include <boost/test/unit_test.hpp>

#include <memory>
#include <optional>
#include <utility>
#include <vector>

using lifecycle_source = avirt::event_source<avirt::domain_lifecycle>;

/// Adds operations on event sources to a fixture. Each but start_receive() waits for its result.
template <class Fixture>
struct with_events : Fixture
{
    using Fixture::Fixture;

    template <class Source>
    avirt::error_code subscribe(Source& source)
    {
        support::outcome subscribed;
        source.async_subscribe(subscribed.handler());
        this->run_until_done(subscribed);
        return subscribed.ec();
    }

    template <class Source>
    avirt::error_code unsubscribe(Source& source)
    {
        support::outcome unsubscribed;
        source.async_unsubscribe(unsubscribed.handler());
        this->run_until_done(unsubscribed);
        return unsubscribed.ec();
    }

    template <class Event>
    std::pair<avirt::error_code, Event> receive(avirt::event_source<Event>& source)
    {
        // The handler may outlive a test that fails.
        const auto received = std::make_shared<std::optional<std::pair<avirt::error_code, Event>>>();
        source.async_receive([=](avirt::error_code ec, Event e) { received->emplace(ec, std::move(e)); });
        BOOST_TEST(!*received); // The initiating function must not invoke the handler.
        this->run_until([&] { return received->has_value(); });
        return std::move(**received);
    }

    /// Starts a receive, and returns its outcome without waiting.
    template <class Source>
    support::outcome start_receive(Source& source)
    {
        support::outcome received;
        source.async_receive(
            [h = received.handler()](avirt::error_code ec, typename Source::event_type) mutable { h(ec); });
        return received;
    }

    std::vector<int> receive_lifecycle(lifecycle_source& source, std::size_t count)
    {
        std::vector<int> events;
        while (events.size() < count) {
            const auto [ec, event] = receive(source);
            BOOST_REQUIRE_EQUAL(ec, avirt::error_code());
            if (event.event != VIR_DOMAIN_EVENT_SHUTDOWN) // QEMU may end before it reports this.
                events.push_back(event.event);
        }
        return events;
    }
};
