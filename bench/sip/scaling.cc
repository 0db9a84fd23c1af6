// SPDX-License-Identifier: Apache-2.0
#include "bench/sip/scaling.h"

#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <random>
#include <thread>

#include "bench/sip/measure.h"
#include "sipheal/sip/dialog_folder.h"
#include "sipheal/sip/message_view.h"

namespace sipheal::bench {
namespace {

constexpr std::size_t kBatch = 64;  // dialogs made and folded at a time
// A thousand calls are set up each second, and the host sweeps every 16 of them.
constexpr std::chrono::milliseconds kApart{1};
constexpr std::size_t kSweepEvery = 250 * kBatch;
constexpr std::size_t kLookups = 200'000;
constexpr std::size_t kSnapshots = 20'000;

double ResidentMb() {
  std::ifstream file("/proc/self/statm");
  double total = 0;
  double resident = 0;
  file >> total >> resident;
  return resident * static_cast<double>(::sysconf(_SC_PAGESIZE)) / 1e6;
}

// Makes dialogs without end from those of the corpus: the first eight bytes of each Call-ID become
// the dialog's number.
class Maker {
 public:
  explicit Maker(const Corpus& corpus) : corpus_(corpus) {
    sip::MessageView view;
    for (const sip::CapturedMessageView& message : corpus.messages) {
      if (!view.Parse(message.bytes).ok() || view.call_id().size() < 8) std::abort();
      call_id_at_.push_back(static_cast<std::size_t>(view.call_id().data() - message.bytes.data()));
      call_id_size_.push_back(view.call_id().size());
    }
  }

  std::string CallId(std::size_t number) const {
    const std::size_t first = number % corpus_.dialogs * corpus_.per_dialog;
    std::string text(
        corpus_.messages[first].bytes.substr(call_id_at_[first], call_id_size_[first]));
    Number(number, text.data());
    return text;
  }

  // The messages of the dialogs from `number` on; valid until the next call.
  const std::vector<sip::CapturedMessageView>& Make(std::size_t number, std::size_t count) {
    text_.clear();
    batch_.clear();
    std::vector<std::size_t> begins;
    for (std::size_t dialog = number; dialog < number + count; ++dialog) {
      const std::size_t first = dialog % corpus_.dialogs * corpus_.per_dialog;
      for (std::size_t i = first; i < first + corpus_.per_dialog; ++i) {
        begins.push_back(text_.size());
        text_ += corpus_.messages[i].bytes;
        Number(dialog, text_.data() + begins.back() + call_id_at_[i]);
        text_.append(64, '\0');
        batch_.push_back(corpus_.messages[i]);
        batch_.back().time += kApart * dialog;
      }
    }
    for (std::size_t i = 0; i < batch_.size(); ++i) {
      batch_[i].bytes = std::string_view(text_).substr(begins[i], batch_[i].bytes.size());
    }
    return batch_;
  }

 private:
  static void Number(std::size_t number, char* at) {
    for (int digit = 7; digit >= 0; --digit, number /= 16)
      at[digit] = "0123456789abcdef"[number % 16];
  }

  const Corpus& corpus_;
  std::vector<std::size_t> call_id_at_;
  std::vector<std::size_t> call_id_size_;
  std::string text_;
  std::vector<sip::CapturedMessageView> batch_;
};

double Fill(sip::DialogFolder& folder, Maker& maker, std::size_t first, std::size_t dialogs,
            std::size_t* messages) {
  double seconds = 0;
  for (std::size_t at = 0; at < dialogs; at += kBatch) {
    const auto& batch = maker.Make(first + at, std::min(kBatch, dialogs - at));
    const double start = CpuSeconds();
    for (const sip::CapturedMessageView& message : batch) Keep(folder.Fold(message).result);
    seconds += CpuSeconds() - start;
    *messages += batch.size();
    if ((at + kBatch) % kSweepEvery == 0) folder.Sweep(batch.back().time);
  }
  return seconds;
}

}  // namespace

TrackedCost Track(const Corpus& corpus, std::size_t dialogs) {
  Maker maker(corpus);
  TrackedCost cost;
  cost.dialogs = dialogs;
  std::mt19937_64 random(dialogs);
  ::malloc_trim(0);
  const double resident = ResidentMb();
  auto folder = std::make_unique<sip::DialogFolder>(CorpusServer());
  // Few dialogs are made again and again, so that there is something to measure.
  const std::size_t repeats = std::max<std::size_t>(1, 2000 / dialogs);
  std::size_t messages = 0;
  double seconds = 0;
  for (std::size_t repeat = 0; repeat < repeats; ++repeat) {
    if (repeat > 0) {
      for (std::size_t i = 0; i < dialogs; ++i) folder->Forget(maker.CallId(i));
    }
    seconds += Fill(*folder, maker, 0, dialogs, &messages);
  }
  cost.fold_ns = seconds * 1e9 / static_cast<double>(messages);
  const auto count = static_cast<double>(dialogs);
  cost.bytes = static_cast<double>(folder->size_bytes()) / count;
  folder->Sweep(corpus.messages.back().time + kApart * dialogs + std::chrono::minutes(2));
  cost.quiet_bytes = static_cast<double>(folder->size_bytes()) / count;
  ::malloc_trim(0);
  cost.resident_mb = ResidentMb() - resident;

  std::vector<std::string> wanted;
  for (std::size_t i = 0; i < std::max<std::size_t>(1000, std::min(dialogs, kLookups)); ++i) {
    wanted.push_back(maker.CallId(random() % dialogs));
  }
  std::size_t found = 0;
  const std::size_t rounds = kLookups / wanted.size();
  double start = CpuSeconds();
  for (std::size_t round = 0; round < rounds; ++round) {
    for (const std::string& call_id : wanted) found += folder->Tracks(call_id) ? 1 : 0;
  }
  cost.find_ns = (CpuSeconds() - start) * 1e9 / static_cast<double>(found);
  if (found != rounds * wanted.size()) std::abort();

  const std::size_t snapshots = std::min(wanted.size(), kSnapshots);
  start = CpuSeconds();
  for (std::size_t i = 0; i < snapshots; ++i) found += folder->Snapshot(wanted[i]).size();
  cost.snapshot_ns = (CpuSeconds() - start) * 1e9 / static_cast<double>(snapshots);
  if (found != rounds * wanted.size() + snapshots) std::abort();
  return cost;
}

double FoldedPerSecond(const Corpus& corpus, unsigned threads) {
  constexpr int kRounds = 20;
  double best = 0;
  for (int round = 0; round < kRounds; ++round) {
    std::vector<std::thread> workers;
    const double start = WallSeconds();
    for (unsigned worker = 0; worker < threads; ++worker) {
      workers.emplace_back([&corpus] {
        sip::DialogFolder folder(CorpusServer());
        for (const sip::CapturedMessageView& message : corpus.messages) {
          Keep(folder.Fold(message).result);
        }
      });
    }
    for (std::thread& worker : workers) worker.join();
    best = std::max(
        best, static_cast<double>(corpus.messages.size()) * threads / (WallSeconds() - start));
  }
  return best;
}

}  // namespace sipheal::bench
