// SPDX-License-Identifier: Apache-2.0
// How fast HEP packets become dialog state, and what a tracked dialog costs in memory. One thread,
// from the bytes of the packets on; no sockets. Times are processor time of that thread.
//
//   hep_bench [calls [rounds]]   prints one line of JSON
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_format.h"
#include "hep/intake.h"
#include "tests/hep/hep_builder.h"
#include "tests/hep/test_call.h"

namespace sipheal {
namespace {

// Of this thread alone: what else runs on the machine does not count.
double CpuSeconds() {
  timespec now;
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

// Packets one behind the other in memory, in the order in which they come in.
struct Packets {
  std::string bytes;
  std::vector<std::string_view> views;
};

// Those of `calls` calls, all set up side by side.
Packets MakePackets(int calls) {
  std::vector<std::vector<std::string>> steps(8);
  for (int i = 0; i < calls; ++i) {
    testing::TestCall call;
    call.call_id = absl::StrFormat("%08x-a6c85cf-1928301774@198.51.100.20", i);
    call.server_tag = absl::StrFormat("as%08x", i);
    call.peer_tag = absl::StrFormat("a6c85cf%d", i);
    call.server_is_uac = i % 2 == 0;
    if (i % 4 < 2) call.proxy = "192.0.2.99:5060";
    std::vector<sip::CapturedMessage> messages = call.Setup();
    testing::Append(messages, call.Reinvite(call.server_is_uac ? 1 : 2, false));
    for (std::size_t step = 0; step < messages.size(); ++step) {
      steps[step].push_back(testing::HepPacketOf(messages[step], {7, "media-1", ""}));
    }
  }
  Packets packets;
  for (const auto& step : steps) {
    for (const std::string& packet : step) packets.bytes += packet;
  }
  std::string_view rest = packets.bytes;
  for (const auto& step : steps) {
    for (const std::string& packet : step) {
      packets.views.push_back(rest.substr(0, packet.size()));
      rest.remove_prefix(packet.size());
    }
  }
  return packets;
}

struct Result {
  double seconds = 0;
  std::size_t bytes = 0;
  std::size_t calls = 0;
  std::uint64_t folded = 0;
};

Result FoldAll(const Packets& packets) {
  hep::Intake intake({});
  HepInstanceOptions options;
  options.instance = "media-1";
  options.agents = {"media-1"};
  options.server = testing::TestCall().Identity();
  const absl::Status added =
      intake.AddInstance(std::move(options), std::make_shared<hep::HeardCell>(hep::kNeverHeard));
  if (!added.ok()) std::abort();
  const sip::IpAddress source = *sip::IpAddress::Parse("127.0.0.1");
  const WallTime now{std::chrono::seconds(1'790'000'100)};
  const double start = CpuSeconds();
  for (const std::string_view packet : packets.views) {
    intake.Take(packet, source, now, MonotonicTime());
  }
  Result result;
  result.seconds = CpuSeconds() - start;
  HepStats stats;
  intake.AddTo(stats);
  result.bytes = stats.instances[0].bytes;
  result.calls = stats.instances[0].calls;
  result.folded = stats.instances[0].folded;
  return result;
}

int Main(int calls, int rounds) {
  const Packets packets = MakePackets(calls);
  Result best;
  for (int round = 0; round < rounds; ++round) {
    const Result result = FoldAll(packets);
    if (round == 0 || result.seconds < best.seconds) best = result;
  }
  if (best.folded != packets.views.size() || best.calls != static_cast<std::size_t>(calls)) {
    std::fprintf(stderr, "hep_bench: not every packet was folded\n");
    return 1;
  }
  const auto count = static_cast<double>(packets.views.size());
  std::printf(
      "{\"calls\":%d,\"packets\":%zu,\"bytes_per_packet\":%.0f,\"messages_per_second\":%.0f,"
      "\"ns_per_message\":%.0f,\"bytes_per_dialog\":%.0f}\n",
      calls, packets.views.size(), static_cast<double>(packets.bytes.size()) / count,
      count / best.seconds, best.seconds / count * 1e9,
      static_cast<double>(best.bytes) / static_cast<double>(best.calls));
  return 0;
}

}  // namespace
}  // namespace sipheal

int main(int argc, char** argv) {
  const int calls = argc > 1 ? std::atoi(argv[1]) : 20000;
  const int rounds = argc > 2 ? std::atoi(argv[2]) : 5;
  if (calls < 1 || rounds < 1) {
    std::fprintf(stderr, "usage: hep_bench [calls [rounds]]\n");
    return 2;
  }
  return sipheal::Main(calls, rounds);
}
