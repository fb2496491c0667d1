// SPDX-License-Identifier: BSL-1.0

// Attaches to a guest's serial console, and relays it to this terminal or to clients.

#include "demo.hpp"
#include "domains.hpp"
#include "listener.hpp"
#include "relay.hpp"
#include "terminal.hpp"

#include <avirt/avirt.hpp>
#include <boost/asio.hpp>
#include <boost/program_options.hpp>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <iostream>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

namespace po = boost::program_options;

namespace {

constexpr auto usage =
    R"(Usage: console_relay [--connect URI] [--domain] NAME [--listen ADDRESS]... [option]...
       console_relay --demo [--listen ADDRESS]... [option]...
       console_relay [--connect URI] --list

Relays a guest's console to this terminal, or to clients that connect to ADDRESS.
)";

constexpr auto remarks = R"(
A terminal is in raw mode: all keys except the escape key go to the guest. Input from a pipe or a file is
relayed to its end, then output until the guest has been silent for 2 seconds; no escape key is recognised in
such input unless --escape is given.

With --wait, the relay stays when the guest is shut down or rebooted, when the hypervisor's daemon is restarted
and when another session takes the console over. It says what happens, and attaches again when it can.

Any number of clients look on; each first gets the latest output, of which 128 KiB are kept. The client of
--listen that came first types. Clients of --view cannot type. Clients are not authenticated: choose ADDRESS
accordingly. A client that is slow loses output, and is told how much. A client of --listen that ends its input
is served until the guest has been silent for 2 seconds.

If the guest takes no input, up to 64 KiB are kept, and sent in few pieces, because libvirt drops a connection
on which five pieces wait. A terminal beeps when input is refused. Input from a pipe or a file waits for the
guest, and the relay says so.

The demo guest echoes what is typed, and Ctrl-D switches it off. If input is not a terminal and neither --listen
nor --view is given, a conversation with the guest is shown.

Exit status:
  0      left by the escape key or at the end of input
  1      the operation failed, or the connection was lost
  2      wrong options
  3      the console ended: the guest was shut down, or another session took the console over
  128+n  ended by signal n
)";

struct options
{
    std::string connect{};
    std::string domain{};
    std::string device{};
    std::vector<std::string> listen{};
    std::vector<std::string> view{};
    std::optional<char> escape{};
    bool force = false;
    bool safe = false;
    bool wait = false;
    bool list = false;
    bool demo = false;

    bool has_listeners() const
    {
        return !listen.empty() || !view.empty();
    }
};

/// Throws std::exception if the options are wrong, and an ending if they only ask for a text.
options parse(int argc, char* argv[])
{
    options o;
    std::string escape = "^]";
    po::options_description described("Options");
    // clang-format off
    described.add_options()
        ("connect", po::value(&o.connect)->value_name("URI"), "the hypervisor, such as qemu:///system; otherwise libvirt's default")
        ("domain", po::value(&o.domain)->value_name("NAME"), "the guest's name or UUID")
        ("device", po::value(&o.device)->value_name("ALIAS"), "the guest's console device, such as serial1; otherwise the first")
        ("listen", po::value(&o.listen)->value_name("ADDRESS"), "serve clients at tcp:HOST:PORT or unix:PATH; may be given several times")
        ("view", po::value(&o.view)->value_name("ADDRESS"), "like --listen, but clients cannot type; may be given several times")
        ("escape", po::value(&escape)->value_name("KEY"), "the key that leaves: ^X, a character, or none (default: ^])")
        ("force", po::bool_switch(&o.force), "take the console over from another session")
        ("safe", po::bool_switch(&o.safe), "attach only if the hypervisor guards against two sessions")
        ("wait", po::bool_switch(&o.wait), "stay when the console ends, and attach again when it can be opened")
        ("list", po::bool_switch(&o.list), "list the domains and their console devices")
        ("demo", po::bool_switch(&o.demo), "boot a small guest and use its console")
        ("help", "show this")
        ("version", "show the versions");
    // clang-format on
    po::positional_options_description unnamed;
    unnamed.add("domain", 1);
    po::variables_map given;
    po::store(po::command_line_parser(argc, argv).options(described).positional(unnamed).run(), given);
    po::notify(given);

    if (given.count("help")) {
        std::cout << usage << '\n' << described << remarks;
        throw ending(succeeded, "");
    }
    if (given.count("version")) {
        unsigned long libvirt = 0;
        virGetVersion(&libvirt, nullptr, nullptr);
        std::cout << "console_relay " CONSOLE_RELAY_VERSION ", libvirt " << libvirt / 1000000 << '.'
                  << libvirt / 1000 % 1000 << '.' << libvirt % 1000 << '\n';
        throw ending(succeeded, "");
    }
    for (const auto& addresses : {o.listen, o.view})
        std::ranges::for_each(addresses, &listener::check);
    if (escape != "none" && (given.count("escape") || ::isatty(STDIN_FILENO)))
        o.escape = parse_key(escape);
    if (o.demo && (o.list || given.count("connect") || given.count("domain")))
        throw std::invalid_argument("--demo has a guest of its own: no --list, --connect or --domain");
    if (!o.demo && !o.list && o.domain.empty())
        throw std::invalid_argument("which guest? Give its name; --list shows which there are");
    if (o.demo)
        o.domain = demo_guest::name;
    return o;
}

avirt::supervision_options supervision(const options& o, const demo_guest* demo)
{
    avirt::supervision_options result;
    result.open.uri = demo ? demo->uri() : o.connect;
    return result;
}

/// The objects of a session. They outlive the run of their context, and thus all coroutines.
struct participants
{
    participants(asio::io_context& io, const options& given, demo_guest* guest)
        : o(given),
          demo(guest),
          signals(io),
          host(io, supervision(given, guest)),
          clients(io.get_executor())
    {
        for (const int signal : {SIGHUP, SIGINT, SIGQUIT, SIGTERM}) {
            struct sigaction present = {};
            if (!::sigaction(signal, nullptr, &present) && present.sa_handler != SIG_IGN)
                signals.add(signal);
        }
    }

    const options& o;
    demo_guest* demo;
    asio::signal_set signals;
    avirt::supervised_connection host;
    std::optional<relay> console;
    listener clients;
};

/// Waits for the first attempt to open the connection.
asio::awaitable<void> wait_for_attempt(avirt::supervised_connection& host)
{
    avirt::host_feed feed{host};
    const auto report = co_await feed.async_receive(avirt::with_details(asio::use_awaitable));
    if (const auto* failure = std::get_if<avirt::host_disconnected>(&report))
        throw avirt::exception(failure->error, failure->details);
}

asio::awaitable<void> connect(participants& p)
{
    std::string sentence;
    try {
        co_return co_await wait_for_attempt(p.host);
    }
    catch (const avirt::exception& e) {
        sentence = "No connection to " + (p.o.connect.empty() ? "libvirt's default hypervisor" : p.o.connect)
            + ": " + said(e) + ". Is it running, and is the URI right (--connect)?";
    }
    if (!p.o.wait || p.o.list)
        throw ending(failed, sentence);
    std::cerr << "console_relay: " << sentence << std::endl; // Further attempts follow.
}

asio::awaitable<ending> list(avirt::connection& connection)
{
    std::string table;
    try {
        table = co_await connection.async_call(&list_domains, avirt::with_details(asio::use_awaitable));
    }
    catch (const avirt::exception& e) {
        throw ending(failed, "The domains cannot be listed: " + said(e) + ".");
    }
    if (!std::cout.write(table.data(), static_cast<std::streamsize>(table.size())).flush())
        throw ending(failed, "The list of the domains cannot be written to standard output.");
    co_return ending(succeeded, "");
}

relay& attach(participants& p)
{
    avirt::console which{p.o.domain, p.o.device};
    if (p.o.force)
        which.flags |= VIR_DOMAIN_CONSOLE_FORCE;
    if (p.o.safe)
        which.flags |= VIR_DOMAIN_CONSOLE_SAFE;
    return p.console.emplace(p.host, which, p.o.wait);
}

asio::awaitable<ending> serve_clients(participants& p)
{
    const auto out = messages_only();
    co_return co_await first_of(p.console->show(*out), p.clients.run(*p.console));
}

asio::awaitable<ending> attend(participants& p)
{
    if (!p.demo)
        co_await connect(p);
    if (p.o.list)
        co_return co_await list(p.host.connection());
    if (!p.demo)
        attach(p);
    co_await p.console->open();

    if (p.o.has_listeners())
        co_return co_await serve_clients(p);
    if (p.demo && !::isatty(STDIN_FILENO))
        co_return co_await converse(*p.console);
    co_return co_await relay_to_terminal(*p.console, p.o.escape);
}

asio::awaitable<ending> ended_by_signal(asio::signal_set& signals)
{
    const int signal = co_await signals.async_wait(asio::use_awaitable);
    co_return ending(128 + signal, std::string("Ended by a signal: ") + ::strsignal(signal) + ".");
}

asio::awaitable<void> boot(participants& p)
{
    std::cerr << "Booting the demo guest..." << std::endl;
    try {
        co_await wait_for_attempt(p.host);
        co_await p.demo->define(p.host.connection());
        co_await attach(p).session().async_start(avirt::with_details(asio::use_awaitable));
    }
    catch (const avirt::exception& e) {
        throw ending(
            failed,
            "The demo guest cannot be booted: " + said(e)
                + ". It needs libvirt's QEMU driver and QEMU for x86 (Debian: libvirt-daemon-driver-qemu, "
                  "qemu-system-x86).");
    }
}

asio::awaitable<ending> prepare(participants& p)
{
    for (const auto& address : p.o.listen)
        co_await p.clients.bind(address, true);
    for (const auto& address : p.o.view)
        co_await p.clients.bind(address, false);
    if (p.demo)
        co_await boot(p);
    co_return ending(succeeded, "");
}

asio::awaitable<ending> session(participants& p)
{
    // Signals wait until the guest is booted: a guest that is being booted could not be destroyed.
    auto over = co_await caught(prepare(p));
    if (over.status() == succeeded)
        over = co_await first_of(attend(p), ended_by_signal(p.signals));
    if (p.console)
        p.console->close();
    co_await p.clients.close(over.what());
    if (p.demo)
        co_await p.demo->destroy(p.host.connection());
    p.host.close();
    co_return over;
}

int run(const options& o, demo_guest* demo)
{
    asio::io_context io;
    avirt::event_loop loop{io};
    participants all(io, o, demo);
    ending over;
    bool is_over = false;
    asio::co_spawn(io, session(all), [&](std::exception_ptr failure, ending e) {
        is_over = true;
        over = std::move(e);
        if (failure)
            std::rethrow_exception(failure);
    });
    while (!is_over)
        io.run_one();
    if (*over.what())
        std::cerr << (::isatty(STDERR_FILENO) ? "\n" : "") << "console_relay: " << over.what() << std::endl;
    io.run(); // Returns when libvirt has released everything.
    return over.status();
}

} // namespace

int main(int argc, char* argv[])
{
    // Files that are opened later must not take the place of missing standard files.
    int spare = 0;
    while ((spare = ::open("/dev/null", O_RDWR)) >= 0 && spare <= STDERR_FILENO)
        ;
    ::close(spare);

    options o;
    try {
        o = parse(argc, argv);
    }
    catch (const ending& e) {
        return std::cout.flush() ? e.status() : failed;
    }
    catch (const std::exception& e) {
        std::cerr << "console_relay: " << e.what() << "; --help shows the options.\n";
        return bad_usage;
    }
    try {
        if (o.demo)
            return with_demo_guest([&](demo_guest& guest) { return run(o, &guest); });
        return run(o, nullptr);
    }
    catch (const std::exception& e) {
        std::cerr << "console_relay: " << e.what() << ".\n";
        return failed;
    }
}
