// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/progress.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <iostream>
#include <string>
#include <vector>

/// A number of bytes, such as "1.5 GiB".
std::string in_bytes(std::uint64_t number);

/// What the user sees of the transfers, on standard error: one bar for all of them on a terminal, and
/// otherwise a line now and then.
class display
{
public:
    /// @param name What the bar is called if there is only one transfer.
    display(std::string name, std::size_t transfers);

    /// Removes the bar.
    ~display();
    display(const display&) = delete;
    display& operator=(const display&) = delete;

    /// Sets the size of a transfer that has not begun.
    void expect(std::size_t transfer, std::uint64_t total);

    void update(std::size_t transfer, const avirt::progress& p);

    /// The transfer has ended, successfully or not: what it has not moved is no longer waited for.
    void end(std::size_t transfer);

    /// Prints a line above the bar.
    void say(const std::string& line, std::ostream& out = std::cerr);

private:
    using clock = std::chrono::steady_clock;

    struct state
    {
        bool has_begun = false;
        std::uint64_t found = 0; // by a transfer that resumes
        std::uint64_t position = 0;
        std::uint64_t bytes = 0;
        std::uint64_t total = 0;
    };

    /// What all transfers have moved up to some time.
    struct sample
    {
        clock::time_point time;
        std::uint64_t position = 0; // counts holes
        std::uint64_t bytes = 0;
    };

    void show(clock::time_point now);
    void draw();
    void erase();
    std::string label() const;
    std::string numbers() const;
    double part_done() const;

    const std::string name_;
    const bool is_terminal_;
    std::vector<state> transfers_;
    std::size_t ended_ = 0;
    std::deque<sample> samples_; // of the last seconds
    clock::time_point next_;     // when the bar is drawn, or a line printed
    bool is_drawn_ = false;
};
