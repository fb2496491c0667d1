// SPDX-License-Identifier: BSL-1.0
#pragma once

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

namespace support {

/// As much of libvirtd's protocol as opening a console, downloading a volume and registering for events take,
/// and whatever a script sends then: for what a real daemon cannot be made to do on demand. Keepalive
/// messages are read, and not answered.
class fake_libvirtd
{
public:
    /// A client's, closed with the last copy.
    using socket = std::shared_ptr<const int>;

    /// One client, whose console or download has just been opened or who registers for events. A copy may be
    /// kept while the client is there; only one thread may send at a time, and an answer of the daemon's is
    /// sent as well.
    class session
    {
    public:
        session(socket client, std::uint32_t procedure, std::uint32_t serial)
            : client_(std::move(client)),
              procedure_(procedure),
              serial_(serial)
        {
        }

        /// False: the client is gone.
        bool data(std::string_view bytes);
        /// The same, a byte at a time.
        void fragments(std::string_view bytes);
        /// Of a sparse download.
        void hole(std::uint64_t length);
        void eof();
        void error(int code, int domain, const std::string& message, int errno_number = 0);
        /// A message that answers no call.
        void event(std::uint32_t procedure, const encoded& body);
        /// No more of it than so many bytes.
        void part_of_event(std::uint32_t procedure, const encoded& body, std::size_t size);
        void close();

    private:
        std::string packet(std::uint32_t status, std::string_view payload) const;

        socket client_;
        std::uint32_t procedure_;
        std::uint32_t serial_;
    };

    /// What a client registers for.
    struct registration
    {
        int event;
        int callback_id;    ///< The first number of its events. -1: they have none.
        std::string object; ///< As the client sends it; empty: all of them.
    };

    enum class event_style {
        with_callback_ids, ///< Each registration has its own.
        of_old,            ///< Those of domains have none, as before there were callback ids.
        none,              ///< Refused: there are no events.
    };

    /// The calls that can be answered otherwise.
    static constexpr std::uint32_t domain_get_xml_desc = 14;
    static constexpr std::uint32_t connect_get_lib_version = 157;
    static constexpr std::uint32_t domain_open_console = 201;
    static constexpr std::uint32_t domain_get_state = 212;

    using script = std::function<void(session&)>;
    using registration_script = std::function<void(const session&, const registration&)>;

    /// The script is run whenever a client has opened a console or a download. Nothing of that client is read
    /// before it returns.
    explicit fake_libvirtd(script s);
    /// The script is run before a registration is answered. Events should come later: libvirt drops what
    /// carries a callback id that it has not been told.
    explicit fake_libvirtd(registration_script s, event_style style = event_style::with_callback_ids);
    ~fake_libvirtd();
    fake_libvirtd(const fake_libvirtd&) = delete;
    fake_libvirtd& operator=(const fake_libvirtd&) = delete;

    std::string uri() const;

    /// Shuts the socket down, SHUT_WR or SHUT_RDWR, where the next answer would be due: of whoever calls.
    void end_at_next_call(int how) noexcept
    {
        ending_ = how;
    }

    bool ends_at_next_call() const noexcept
    {
        return ending_ != no_ending;
    }

    /// How many keepalive messages have been read.
    int keepalives() const noexcept
    {
        return keepalives_;
    }

    // From now on, whoever calls:

    void answer(std::uint32_t procedure, const encoded& body);
    void refuse(std::uint32_t procedure, int code, int domain, const std::string& message);
    /// Hangs up instead of an answer.
    void hang_up_at(std::uint32_t procedure);

    /// How many registrations there are now.
    int registrations() const noexcept
    {
        return registrations_;
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

    mutable std::mutex mutex_;
    std::map<std::uint32_t, other_answer> other_answers_;
    const script console_script_;
    const registration_script registration_script_;
    const event_style event_style_;
    std::atomic<int> keepalives_{0};
    std::atomic<int> registrations_{0};
    std::atomic<int> next_callback_id_{100};
    std::atomic<int> ending_{no_ending};
    std::filesystem::path directory_;
    int listener_ = -1;
    std::thread thread_;
};

} // namespace support
