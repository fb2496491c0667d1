// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "support/temporary_directory.hpp"
#include "support/xdr.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace support {

/// A daemon that speaks enough of libvirtd's protocol for opening a console, downloading a volume and
/// registering for events, and then sends what a script says: for what a real daemon does not do on demand.
/// Keepalive messages are read, but not answered unless answer_keepalives() is called.
class fake_libvirtd
{
public:
    /// A client's socket, which the last copy closes.
    using socket = std::shared_ptr<const int>;

    /// One client, which has just opened a console or a download, or which registers for events. A copy may
    /// be kept while the client is connected. Only one thread may send at a time, and the daemon's own
    /// answers count.
    class session
    {
    public:
        session(socket client, std::uint32_t procedure, std::uint32_t serial)
            : client_(std::move(client)),
              procedure_(procedure),
              serial_(serial)
        {
        }

        /// Returns false if the client is gone.
        bool data(std::string_view bytes);
        /// Sends the same packet, one byte at a time.
        void fragments(std::string_view bytes);
        /// Sends a hole of a sparse download.
        void hole(std::uint64_t length);
        void eof();
        void error(int code, int domain, const std::string& message, int errno_number = 0);
        /// Sends a message that answers no call.
        void event(std::uint32_t procedure, const encoded& body);
        /// Sends only the first `size` bytes of the message.
        void part_of_event(std::uint32_t procedure, const encoded& body, std::size_t size);
        void close();

    private:
        std::string packet(std::uint32_t status, std::string_view payload) const;

        socket client_;
        std::uint32_t procedure_;
        std::uint32_t serial_;
    };

    /// A registration for events by a client.
    struct registration
    {
        int event;
        int callback_id;    ///< The first number in its events. -1: there is none.
        std::string object; ///< As the client sends it; empty: all objects.
    };

    enum class event_style {
        with_callback_ids, ///< Each registration has its own callback id.
        of_old,            ///< Domain events have no callback id, as in old versions of libvirt.
        none,              ///< Registrations are refused, as if events were not supported.
    };

    /// The calls whose answers can be replaced.
    static constexpr std::uint32_t domain_get_xml_desc = 14;
    static constexpr std::uint32_t storage_vol_get_info = 98;
    static constexpr std::uint32_t connect_get_lib_version = 157;
    static constexpr std::uint32_t domain_open_console = 201;
    static constexpr std::uint32_t domain_get_state = 212;
    static constexpr std::uint32_t connect_list_all_domains = 273;
    static constexpr std::uint32_t connect_get_all_domain_stats = 344;
    static constexpr std::uint32_t storage_vol_get_info_flags = 378;

    using script = std::function<void(session&)>;
    using registration_script = std::function<void(const session&, const registration&)>;

    /// The script runs whenever a client has opened a console or a download. No further message of that
    /// client is read before the script returns.
    explicit fake_libvirtd(script s);
    /// The script runs before a registration is answered. It should not send events until later: libvirt
    /// drops an event whose callback id it does not know yet.
    explicit fake_libvirtd(registration_script s, event_style style = event_style::with_callback_ids);
    ~fake_libvirtd();
    fake_libvirtd(const fake_libvirtd&) = delete;
    fake_libvirtd& operator=(const fake_libvirtd&) = delete;

    std::string uri() const;

    std::filesystem::path socket_path() const
    {
        return directory_.path / "socket";
    }

    /// The number of bytes that clients have written to streams.
    std::size_t received() const noexcept
    {
        return received_;
    }

    /// Instead of sending the next answer to any client, shuts that client's socket down, with SHUT_WR or
    /// SHUT_RDWR.
    void end_at_next_call(int how) noexcept
    {
        ending_ = how;
    }

    bool ends_at_next_call() const noexcept
    {
        return ending_ != no_ending;
    }

    /// The number of keepalive messages that have been read.
    int keepalives() const noexcept
    {
        return keepalives_;
    }

    // These apply from now on, to every client:

    void answer(std::uint32_t procedure, const encoded& body);
    /// Lists these domains, which run.
    /// @param domains On the wire: name, UUID and id.
    void answer_running_domains(const std::vector<encoded>& domains);
    void refuse(std::uint32_t procedure, int code, int domain, const std::string& message);
    /// Answers the PINGs of the keepalive.
    void answer_keepalives() noexcept
    {
        answers_keepalives_ = true;
    }
    /// Hangs up instead of answering.
    void hang_up_at(std::uint32_t procedure);

    /// Calls the function, which may block, before each answer to these calls.
    void before_answer(std::uint32_t procedure, std::function<void()> function);

    /// The current number of registrations.
    int registrations() const noexcept
    {
        return registrations_;
    }

    /// The number of streams that clients have aborted.
    int aborts() const noexcept
    {
        return aborts_;
    }

    /// The number of clients that are gone.
    int departures() const noexcept
    {
        return departures_;
    }

    /// The number of those that did not close their connections in order.
    int losses() const noexcept
    {
        return losses_;
    }

private:
    static constexpr int no_ending = -1;

    fake_libvirtd(script console, registration_script registered, event_style style);

    void serve();
    void serve_client(const socket& client);
    std::string answer_to(const socket& client, std::uint32_t procedure, std::string_view arguments);
    std::string register_client(const socket& client, bool has_callback_id, std::string_view arguments);

    struct other_answer
    {
        std::uint32_t status;
        std::string body;
        bool is_none = false;
    };

    std::optional<other_answer> other_answer_to(std::uint32_t procedure) const;
    void set_answer(std::uint32_t procedure, other_answer a);
    void prepare_answer(std::uint32_t procedure) const;

    mutable std::mutex mutex_;
    std::map<std::uint32_t, other_answer> other_answers_;
    std::map<std::uint32_t, std::function<void()>> before_answers_;
    const script console_script_;
    const registration_script registration_script_;
    const event_style event_style_;
    std::atomic<int> keepalives_{0};
    std::atomic<std::size_t> received_{0};
    std::atomic<bool> answers_keepalives_{false};
    std::atomic<int> registrations_{0};
    std::atomic<int> aborts_{0};
    std::atomic<int> losses_{0};
    std::atomic<int> departures_{0};
    std::atomic<int> next_callback_id_{100};
    std::atomic<int> ending_{no_ending};
    const temporary_directory directory_{"/tmp/avirt-fake-"};
    int listener_ = -1;
    std::thread thread_;
};

} // namespace support
