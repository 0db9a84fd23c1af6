// SPDX-License-Identifier: Apache-2.0
// The table: sipheal beside its peers and the limits of the machine, in one process, in turn.
//
//   sip_table CORPUS PEERS_FOLDER JSON_FILE [--seconds S] [--dialogs N]
//
// bench/run.sh calls it; bench/README.md says how it measures.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include <nlohmann/json.hpp>

#include "bench/sip/curves.h"
#include "bench/sip/floor.h"
#include "bench/sip/limits.h"
#include "bench/sip/others.h"
#include "bench/sip/own.h"
#include "bench/sip/scaling.h"

namespace sipheal::bench {
namespace {

using nlohmann::json;

struct Options {
  const char* corpus = nullptr;
  const char* peers = nullptr;
  const char* json = nullptr;
  double seconds = 60;            // of measuring in turn
  std::size_t dialogs = 1000000;  // the most that are tracked at once; 0: none, and no curves
};

std::string CpuName() {
  std::ifstream file("/proc/cpuinfo");
  std::string line;
  std::string family;
  std::string name = "unknown processor";
  while (std::getline(file, line)) {
    const std::size_t colon = line.find(": ");
    if (colon == line.npos) continue;
    if (line.rfind("model name", 0) == 0) name = line.substr(colon + 2);
    if (line.rfind("cpu family", 0) == 0) family = line.substr(colon + 2);
    if (line.empty()) break;
  }
  return name + " (family " + family + ")";
}

json PrintContenders(const std::vector<Contender>& contenders, std::size_t messages) {
  json rows = json::array();
  std::printf("\n%-40s %10s %10s %9s %9s\n", "best pass", "ns/message", "ns/dialog", "MB/s",
              "allocs");
  for (const Contender& contender : contenders) {
    const bool by_message = contender.messages == messages;
    json row = {{"name", contender.name}, {"ns_per_dialog", contender.ns_per_dialog()}};
    if (by_message) {
      row["ns_per_message"] = contender.ns_per_message();
      row["mb_per_second"] = contender.mb_per_second();
      row["allocations_per_message"] = contender.allocations_per_message();
      std::printf("%-40s %10.0f %10.0f %9.0f %9.2f\n", contender.name.c_str(),
                  contender.ns_per_message(), contender.ns_per_dialog(), contender.mb_per_second(),
                  contender.allocations_per_message());
    } else {
      const double allocations = contender.allocations_per_message();
      row["allocations_per_dialog"] = allocations;
      std::printf("%-40s %10s %10.0f %9s %9.2f\n", contender.name.c_str(), "",
                  contender.ns_per_dialog(), "", allocations);
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

const Contender& Find(const std::vector<Contender>& contenders, std::string_view name) {
  for (const Contender& contender : contenders) {
    if (contender.name == name) return contender;
  }
  std::abort();
}

// The quotients that are promised, "for these fields".
json PrintRatios(const std::vector<Contender>& all, std::size_t limits, std::size_t first_peer) {
  const Contender& fields = Find(all, "sipheal: parse and fields");
  const Contender& rebuild = Find(all, "sipheal: rebuild (parse, fold, derive)");
  json ratios;
  std::printf(
      "\nfor these fields (From, To, tags, Call-ID, CSeq, Contact, Record-Routes, top Via,\n"
      "Session-Expires, URIs split), best over best:\n");
  for (std::size_t i = 0; i < limits; ++i) {
    const double ratio = fields.best / all[i].best;
    std::printf("  sipheal takes %.2f times the %s\n", ratio, all[i].name.c_str());
    ratios["over " + all[i].name] = ratio;
  }
  for (std::size_t i = first_peer; i < all.size(); ++i) {
    const double ratio = all[i].best / fields.best;
    std::printf("  sipheal is %.2f times faster than %s\n", ratio, all[i].name.c_str());
    ratios["faster than " + all[i].name] = ratio;
  }
  const double share = rebuild.best / fields.best;
  std::printf("  a dialog rebuilt takes %.2f times the parsing of its messages\n", share);
  ratios["rebuild over parses"] = share;
  const double floor = Find(all, "floor: and the state written").best / fields.best;
  std::printf("  what no rebuild can do without takes %.2f times that parsing, itself included\n",
              floor);
  ratios["floor over parses"] = floor;
  return ratios;
}

json PrintTracked(const Corpus& corpus, std::size_t most) {
  json rows = json::array();
  std::printf("\n%10s %12s %10s %13s %12s %12s %12s\n", "tracked", "fold ns/msg", "find ns",
              "snapshot ns", "bytes each", "quiet bytes", "resident MB");
  for (std::size_t dialogs = 1; dialogs <= most; dialogs *= 10) {
    const TrackedCost cost = Track(corpus, dialogs);
    std::printf("%10zu %12.0f %10.0f %13.0f %12.0f %12.0f %12.1f\n", cost.dialogs, cost.fold_ns,
                cost.find_ns, cost.snapshot_ns, cost.bytes, cost.quiet_bytes, cost.resident_mb);
    std::fflush(stdout);
    rows.push_back({{"dialogs", cost.dialogs},
                    {"fold_ns_per_message", cost.fold_ns},
                    {"find_ns", cost.find_ns},
                    {"snapshot_ns", cost.snapshot_ns},
                    {"bytes_per_dialog", cost.bytes},
                    {"bytes_per_quiet_dialog", cost.quiet_bytes},
                    {"resident_mb", cost.resident_mb}});
  }
  return rows;
}

json PrintCurves() {
  json curves = json::array();
  std::printf("\n%-26s %9s %9s %12s %9s\n", "parse and fold one message", "count", "bytes", "ns",
              "ns/byte");
  for (const Curve& curve : MeasureCurves()) {
    json points = json::array();
    for (const CurvePoint& point : curve.points) {
      std::printf("%-26s %9zu %9zu %12.0f %9.3f%s\n", curve.name.c_str(), point.count, point.bytes,
                  point.ns, point.ns_per_byte(), point.taken ? "" : "  (refused by a limit)");
      points.push_back({{"count", point.count},
                        {"bytes", point.bytes},
                        {"ns", point.ns},
                        {"ns_per_byte", point.ns_per_byte()},
                        {"taken", point.taken}});
    }
    curves.push_back({{"name", curve.name}, {"points", std::move(points)}});
  }
  return curves;
}

json PrintThreads(const Corpus& corpus) {
  json threads;
  std::printf("\n");
  for (unsigned count : {1u, 2u}) {
    const double rate = FoldedPerSecond(corpus, count);
    std::printf("folded by %u thread%s, a folder each: %.0f messages a second (wall time)\n", count,
                count == 1 ? "" : "s", rate);
    threads[std::to_string(count)] = rate;
  }
  return threads;
}

int Main(const Options& options) {
  json out;
  out["cpu"] = CpuName();
  std::printf("processor: %s\n", CpuName().c_str());
  const Corpus corpus = ReadCorpus(options.corpus);
  std::printf("corpus: %zu dialogs, %zu messages of %.0f bytes\n", corpus.dialogs,
              corpus.messages.size(),
              static_cast<double>(corpus.bytes) / static_cast<double>(corpus.messages.size()));
  std::printf("peers, held against sipheal's own reading of every message:\n");
  std::fflush(stdout);

  std::vector<Contender> all = LimitContenders(corpus);
  const std::size_t limits = all.size();
  for (Contender& contender : OwnContenders(corpus)) all.push_back(std::move(contender));
  for (Contender& contender : FloorContenders(corpus)) all.push_back(std::move(contender));
  const std::size_t first_peer = all.size();
  for (Contender& contender : OtherContenders(corpus, options.peers)) {
    all.push_back(std::move(contender));
  }
  std::printf("measuring all of them in turn for %.0f s\n", options.seconds);
  std::fflush(stdout);
  MeasureInTurn(all, options.seconds, 5);
  out["contenders"] = PrintContenders(all, corpus.messages.size());
  out["ratios"] = PrintRatios(all, limits, first_peer);
  const double bandwidth = ReadBandwidth();
  std::printf("  memory is read with %.1f GB/s by one thread\n", bandwidth / 1e9);
  out["read_bandwidth"] = bandwidth;
  std::fflush(stdout);
  if (options.dialogs > 0) {
    out["curves"] = PrintCurves();
    std::fflush(stdout);
    out["folded_per_second_by_threads"] = PrintThreads(corpus);
    std::fflush(stdout);
    out["tracked"] = PrintTracked(corpus, options.dialogs);
  }
  std::ofstream(options.json) << out.dump(1) << '\n';
  return 0;
}

}  // namespace
}  // namespace sipheal::bench

int main(int argc, char** argv) {
  sipheal::bench::Options options;
  if (argc >= 4) {
    options.corpus = argv[1];
    options.peers = argv[2];
    options.json = argv[3];
  }
  for (int i = 4; i + 1 < argc; i += 2) {
    if (std::strcmp(argv[i], "--seconds") == 0) options.seconds = std::atof(argv[i + 1]);
    if (std::strcmp(argv[i], "--dialogs") == 0) {
      options.dialogs = std::strtoull(argv[i + 1], nullptr, 10);
    }
  }
  if (argc < 4 || argc % 2 != 0 || options.seconds < 0) {
    std::fprintf(stderr, "usage: sip_table CORPUS PEERS JSON [--seconds S] [--dialogs N]\n");
    return 2;
  }
  return sipheal::bench::Main(options);
}
