// SPDX-License-Identifier: Apache-2.0
// The SIP layer alone: parse, fold, derive, serialise, on a corpus of whole calls (bench/sip/run.sh
// makes it). Reports ns a message, messages and bytes a second, allocations, and bytes for a
// tracked dialog.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <new>
#include <string>
#include <vector>

#include "sipheal/sip/dialog_codec.h"
#include "sipheal/sip/dialog_folder.h"
#include "sipheal/sip/message_view.h"
#include "sipheal/sip/next_request.h"
#include "sipheal/sip/uri.h"

namespace {

std::uint64_t allocations = 0;

}  // namespace

void* operator new(std::size_t size) {
  ++allocations;
  if (void* block = std::malloc(size)) return block;
  throw std::bad_alloc();
}
void operator delete(void* block) noexcept { std::free(block); }
void operator delete(void* block, std::size_t) noexcept { std::free(block); }

namespace {

namespace sip = sipheal::sip;

struct Corpus {
  std::string blob;
  std::vector<sip::CapturedMessageView> messages;
  std::size_t dialogs = 0;
  std::size_t bytes = 0;
};

// The format is that of gen_corpus.py: "SIPC", three counts, an index, and the messages.
const Corpus& TheCorpus() {
  static const Corpus corpus = [] {
    Corpus c;
    const char* path = std::getenv("SIPHEAL_BENCH_CORPUS");
    std::ifstream file(path != nullptr ? path : "corpus.bin", std::ios::binary);
    c.blob.assign(std::istreambuf_iterator<char>(file), {});
    if (c.blob.size() < 16 || c.blob.compare(0, 4, "SIPC") != 0) {
      std::fprintf(stderr, "no corpus: run bench/sip/run.sh, or set SIPHEAL_BENCH_CORPUS\n");
      std::exit(1);
    }
    std::uint32_t head[3];
    std::memcpy(head, c.blob.data() + 4, sizeof head);
    c.dialogs = head[0];
    const std::size_t start = 16 + std::size_t{head[1]} * 16;
    const sip::Endpoint node = *sip::Endpoint::Parse("192.0.2.10:5060");
    const sip::Endpoint proxy = *sip::Endpoint::Parse("198.51.100.10:5060");
    for (std::uint32_t i = 0; i < head[1]; ++i) {
      std::uint32_t entry[4];
      std::memcpy(entry, c.blob.data() + 16 + std::size_t{i} * 16, sizeof entry);
      sip::CapturedMessageView message;
      message.bytes = std::string_view(c.blob).substr(start + entry[0], entry[1]);
      // One Via is the node's own request or the answer to it; several came through the proxies.
      sip::MessageView view;
      if (!view.Parse(message.bytes).ok()) std::abort();
      std::string_view vias = view.Get(sip::HeaderId::kVia);
      sip::ViaView via;
      if (NextVia(&vias, &via) != sip::ListStep::kValue) std::abort();
      const bool own = via.host == "192.0.2.10";
      const bool sent = own == view.is_request();
      message.source = sent ? node : proxy;
      message.destination = sent ? proxy : node;
      message.transport = sip::Transport::kUdp;
      message.time = sip::CaptureTime(std::chrono::seconds(1'700'000'000) +
                                      std::chrono::milliseconds(20) * (i % 10));
      message.sequence = i + 1;
      c.bytes += message.bytes.size();
      c.messages.push_back(message);
    }
    return c;
  }();
  return corpus;
}

sip::ServerIdentity Node() {
  sip::ServerIdentity server;
  const sip::Endpoint node = *sip::Endpoint::Parse("192.0.2.10:5060");
  server.addresses.push_back({node.ip, node.port, sip::Transport::kUnknown});
  return server;
}

void Report(benchmark::State& state, std::size_t messages, std::size_t bytes,
            std::uint64_t allocated) {
  const double rounds = static_cast<double>(state.iterations());
  state.SetItemsProcessed(static_cast<std::int64_t>(rounds * static_cast<double>(messages)));
  state.SetBytesProcessed(static_cast<std::int64_t>(rounds * static_cast<double>(bytes)));
  state.counters["allocs_per_item"] =
      static_cast<double>(allocated) / (rounds * static_cast<double>(messages));
}

void LineScan(benchmark::State& state) {
  const Corpus& corpus = TheCorpus();
  for (auto _ : state) {
    std::size_t lines = 0;
    for (const auto& message : corpus.messages) {
      const char* at = message.bytes.data();
      const char* end = at + message.bytes.size();
      while (const void* found = std::memchr(at, '\n', static_cast<std::size_t>(end - at))) {
        at = static_cast<const char*>(found) + 1;
        ++lines;
        if (*at == '\r') break;
      }
    }
    benchmark::DoNotOptimize(lines);
  }
  Report(state, corpus.messages.size(), corpus.bytes, 0);
}
BENCHMARK(LineScan)->Unit(benchmark::kMillisecond);

void Parse(benchmark::State& state) {
  const Corpus& corpus = TheCorpus();
  sip::MessageView view;
  const std::uint64_t before = allocations;
  for (auto _ : state) {
    for (const auto& message : corpus.messages)
      benchmark::DoNotOptimize(view.Parse(message.bytes).ok());
  }
  Report(state, corpus.messages.size(), corpus.bytes, allocations - before);
}
BENCHMARK(Parse)->Unit(benchmark::kMillisecond);

void Fold(benchmark::State& state) {
  const Corpus& corpus = TheCorpus();
  std::uint64_t allocated = 0;
  for (auto _ : state) {
    state.PauseTiming();
    auto folder = std::make_unique<sip::DialogFolder>(Node());
    const std::uint64_t before = allocations;
    state.ResumeTiming();
    for (const auto& message : corpus.messages)
      benchmark::DoNotOptimize(folder->Fold(message).result);
    state.PauseTiming();
    allocated += allocations - before;
    state.counters["bytes_per_dialog"] =
        static_cast<double>(folder->size_bytes()) / static_cast<double>(corpus.dialogs);
    folder->Sweep(corpus.messages.back().time + std::chrono::minutes(2));
    state.counters["bytes_per_quiet_dialog"] =
        static_cast<double>(folder->size_bytes()) / static_cast<double>(corpus.dialogs);
    folder.reset();
    state.ResumeTiming();
  }
  Report(state, corpus.messages.size(), corpus.bytes, allocated);
}
BENCHMARK(Fold)->Unit(benchmark::kMillisecond);

void FoldDuplicates(benchmark::State& state) {
  const Corpus& corpus = TheCorpus();
  sip::DialogFolder folder(Node());
  for (const auto& message : corpus.messages) folder.Fold(message);
  const std::uint64_t before = allocations;
  for (auto _ : state) {
    for (const auto& message : corpus.messages)
      benchmark::DoNotOptimize(folder.Fold(message).result);
  }
  Report(state, corpus.messages.size(), corpus.bytes, allocations - before);
}
BENCHMARK(FoldDuplicates)->Unit(benchmark::kMillisecond);

struct Tracked {
  sip::DialogFolder folder{Node()};
  std::vector<std::string> call_ids;
  std::vector<sip::DialogState> dialogs;
};

Tracked& TheTracked() {
  static Tracked tracked = [] {
    Tracked t;
    for (const auto& message : TheCorpus().messages) t.folder.Fold(message);
    t.folder.ForEachCall([&](std::string_view call_id) { t.call_ids.emplace_back(call_id); });
    for (const std::string& call_id : t.call_ids) {
      for (sip::DialogState& dialog : t.folder.Snapshot(call_id))
        t.dialogs.push_back(std::move(dialog));
    }
    std::size_t recoverable = 0;
    for (const sip::DialogState& dialog : t.dialogs) {
      sip::VerdictOptions options;
      options.targets.only_seen_hosts = false;
      if (sip::Judge(dialog, options).recoverable()) ++recoverable;
    }
    std::printf("%zu calls, %zu dialogs, %zu recoverable\n", t.call_ids.size(), t.dialogs.size(),
                recoverable);
    return t;
  }();
  return tracked;
}

void Snapshot(benchmark::State& state) {
  Tracked& tracked = TheTracked();
  const std::uint64_t before = allocations;
  for (auto _ : state) {
    for (const std::string& call_id : tracked.call_ids) {
      benchmark::DoNotOptimize(tracked.folder.Snapshot(call_id));
    }
  }
  Report(state, tracked.call_ids.size(), 0, allocations - before);
}
BENCHMARK(Snapshot)->Unit(benchmark::kMillisecond);

void Variables(benchmark::State& state) {
  Tracked& tracked = TheTracked();
  const std::uint64_t before = allocations;
  for (auto _ : state) {
    for (const sip::DialogState& dialog : tracked.dialogs) {
      benchmark::DoNotOptimize(sip::RecoveryVariables(dialog));
    }
  }
  Report(state, tracked.dialogs.size(), 0, allocations - before);
}
BENCHMARK(Variables)->Unit(benchmark::kMillisecond);

void EncodeDecode(benchmark::State& state) {
  Tracked& tracked = TheTracked();
  std::size_t bytes = 0;
  for (auto _ : state) {
    bytes = 0;
    for (const sip::DialogState& dialog : tracked.dialogs) {
      const std::string encoded = sip::EncodeDialog(dialog);
      bytes += encoded.size();
      benchmark::DoNotOptimize(sip::DecodeDialog(encoded));
    }
  }
  Report(state, tracked.dialogs.size(), bytes, 0);
  state.counters["bytes_per_dialog"] =
      static_cast<double>(bytes) / static_cast<double>(tracked.dialogs.size());
}
BENCHMARK(EncodeDecode)->Unit(benchmark::kMillisecond);

}  // namespace

BENCHMARK_MAIN();
