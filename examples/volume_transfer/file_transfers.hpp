// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "transfer.hpp"
#include "volume.hpp"

#include <filesystem>

/// The transfer of a volume to a file.
class download final : public transfer
{
public:
    download(volume from, std::filesystem::path to);

    std::string text() const override;
    asio::awaitable<std::uint64_t> size() override;
    asio::awaitable<avirt::progress> move(avirt::transfer_options options) override;
    asio::awaitable<std::string> source_checksum(std::uint64_t size, avirt::transfer_limits limits) override;
    asio::awaitable<std::string> target_checksum(std::uint64_t size, avirt::transfer_limits limits) override;
    std::string target() const override;
    std::string remains(bool resumes) const override;

private:
    volume from_;
    std::filesystem::path to_;
};

/// The transfer of a file to a volume.
class upload final : public transfer
{
public:
    upload(std::filesystem::path from, volume to);

    std::string text() const override;
    asio::awaitable<std::uint64_t> size() override;
    asio::awaitable<avirt::progress> move(avirt::transfer_options options) override;
    asio::awaitable<std::string> source_checksum(std::uint64_t size, avirt::transfer_limits limits) override;
    asio::awaitable<std::string> target_checksum(std::uint64_t size, avirt::transfer_limits limits) override;
    std::string target() const override;
    std::string remains(bool resumes) const override;

private:
    std::filesystem::path from_;
    volume to_;
};
