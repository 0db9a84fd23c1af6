// SPDX-License-Identifier: Apache-2.0
// Fuzzes the way of a HEP packet from the wire to dialog state. The input is a stream of packets,
// each behind its length in two bytes, so that several messages of one dialog can be found.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string_view>

#include "hep/intake.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sipheal;  // NOLINT
  std::string_view input(reinterpret_cast<const char*>(data), size);
  hep::Intake::Options intake_options;
  intake_options.keep_records = true;
  hep::Intake intake(std::move(intake_options));
  HepInstanceOptions options;
  options.instance = "a";
  options.agents = {"a", "1"};
  options.server.addresses.push_back(
      {*sip::IpAddress::Parse("192.0.2.10"), 0, sip::Transport::kUnknown});
  if (!intake.AddInstance(std::move(options), std::make_shared<hep::HeardCell>(0)).ok()) {
    std::abort();
  }
  const sip::IpAddress source = *sip::IpAddress::Parse("127.0.0.1");
  while (input.size() >= 2) {
    const std::size_t length = static_cast<std::size_t>(static_cast<unsigned char>(input[0]) << 8 |
                                                        static_cast<unsigned char>(input[1]));
    input.remove_prefix(2);
    intake.Take(input.substr(0, length), source, WallTime(), MonotonicTime());
    input.remove_prefix(std::min(length, input.size()));
  }
  for (const DialogRecord& record : intake.TakeChanges(SIZE_MAX, WallTime()).records) {
    if (!record.removed && record.bytes.empty()) std::abort();
    intake.Fetch(record.call_id, "a");
  }
  return 0;
}
