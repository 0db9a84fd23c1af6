// SPDX-License-Identifier: Apache-2.0
// Checks the options and makes the receiver.
#include <fstream>
#include <iterator>
#include <utility>

#include "absl/strings/str_format.h"
#include "hep/receiver.h"

namespace sipheal::inline v0_1 {
namespace {

absl::Status ReadKey(HepOptions& options) {
  if (options.auth_key_file.empty()) return absl::OkStatus();
  if (!options.auth_key.empty()) {
    return absl::InvalidArgumentError("hep: auth_key and auth_key_file are both given: keep one");
  }
  std::ifstream file(options.auth_key_file, std::ios::binary);
  if (!file) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "hep: auth_key_file %s: cannot be read: check path and rights", options.auth_key_file));
  }
  options.auth_key.assign(std::istreambuf_iterator<char>(file), {});
  if (options.auth_key.ends_with('\n')) options.auth_key.pop_back();
  if (options.auth_key.empty()) {
    return absl::InvalidArgumentError(
        absl::StrFormat("hep: auth_key_file %s: is empty", options.auth_key_file));
  }
  return absl::OkStatus();
}

absl::Status CheckOptions(const HepOptions& options) {
  using std::chrono::milliseconds;
  if (!options.udp.has_value() && !options.tcp.has_value()) {
    return absl::InvalidArgumentError("hep: neither udp nor tcp is given: nothing to listen on");
  }
  for (const auto& endpoint : {options.udp, options.tcp}) {
    if (endpoint.has_value() && endpoint->ip.empty()) {
      return absl::InvalidArgumentError(
          "hep: an address to listen on is empty: give an IP address, 0.0.0.0 for all");
    }
  }
  if (options.forward.has_value() && (options.forward->ip.empty() || options.forward->port == 0 ||
                                      options.forward == options.udp)) {
    return absl::InvalidArgumentError(
        "hep: forward: give the address and port of another HEP server");
  }
  if (options.receive_buffer_bytes < (64u << 10) || options.receive_buffer_bytes > (1u << 30)) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "hep: receive_buffer_bytes %d: must be 64 KiB to 1 GiB", options.receive_buffer_bytes));
  }
  if (options.write_behind < milliseconds(10) || options.write_behind > milliseconds(1000)) {
    return absl::InvalidArgumentError(absl::StrFormat("hep: write_behind %d ms: must be 10 to 1000",
                                                      options.write_behind.count()));
  }
  if (options.store_timeout <= milliseconds(0)) {
    return absl::InvalidArgumentError("hep: store_timeout: must be above 0");
  }
  if (options.ended_linger < std::chrono::seconds(32)) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "hep: ended_linger %d s: must be 32 or more (64*T1)", options.ended_linger.count()));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::shared_ptr<HepReceiver>> MakeHepReceiver(HepOptions options) {
  if (absl::Status status = CheckOptions(options); !status.ok()) return status;
  if (absl::Status status = ReadKey(options); !status.ok()) return status;
  std::vector<HepInstanceOptions> instances = std::move(options.instances);
  options.instances.clear();
  auto receiver = std::make_shared<hep::Receiver>(std::move(options));
  for (HepInstanceOptions& instance : instances) {
    if (absl::Status status = receiver->AddInstance(std::move(instance)); !status.ok()) {
      return status;
    }
  }
  return receiver;
}

}  // namespace sipheal::inline v0_1
