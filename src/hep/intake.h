// SPDX-License-Identifier: Apache-2.0
// From HEP packets to dialog state: who may send, whose side it is, the folds of all instances, and
// what an earlier instance or the store knew of the same dialog. No sockets, no threads, no store:
// one caller at a time, under the receiver's lock.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "absl/status/status.h"
#include "hep/network.h"
#include "hep/string_hash.h"
#include "sipheal/adapters/hep.h"
#include "sipheal/base/clock.h"
#include "sipheal/session_store.h"
#include "sipheal/sip/dialog_folder.h"
#include "sipheal/sip_capture.h"

namespace sipheal::inline v0_1::hep {

// Monotonic time of the last packet in nanoseconds; kNeverHeard before the first. Shared with those
// who ask for it without the receiver's lock.
using HeardCell = std::atomic<std::int64_t>;
inline constexpr std::int64_t kNeverHeard = INT64_MIN;

// What changed since it was last taken, for the store.
struct Changes {
  std::vector<DialogRecord> records;
  // Calls that the fold dropped before their end was written, or that were forgotten: their
  // records are to be removed.
  struct Gone {
    std::string instance;
    std::string call_id;
  };
  std::vector<Gone> gone;
  std::size_t calls = 0;  // looked at
  bool more = false;
};

class Intake {
 public:
  struct Options {
    std::string auth_key;
    sip::RebuildOptions rebuild;
    std::chrono::seconds ended_linger{36};
    std::chrono::seconds tombstone_ttl{300};
    bool keep_records = false;  // TakeChanges makes records
  };

  explicit Intake(Options options) : options_(std::move(options)) {}
  Intake(const Intake&) = delete;
  Intake& operator=(const Intake&) = delete;

  absl::Status AddInstance(HepInstanceOptions options, std::shared_ptr<HeardCell> heard);
  absl::Status RemoveInstance(std::string_view instance);
  void Forget(std::string_view instance, std::string_view call_id);

  // Takes one packet. `arrived` stands in for a time that the packet does not give. False when it
  // was refused: malformed, or of nobody who may send.
  bool Take(std::string_view packet, const sip::IpAddress& source, WallTime arrived,
            MonotonicTime heard);
  // A stream that cannot be followed any further.
  void CountRefused(sip::HepError error);
  // Whether any instance takes packets from there.
  bool AllowsSource(const sip::IpAddress& source) const;

  // What the store held when the receiver started. Replaces what was given before.
  void SetStored(std::vector<DialogRecord> records);

  // The dialogs of one call, seen from `instance`; of every instance when that is empty.
  DialogCapture Fetch(std::string_view call_id, std::string_view instance) const;

  // Looks at up to `max_calls` calls that changed.
  Changes TakeChanges(std::size_t max_calls, WallTime now);
  std::size_t changed_calls() const;

  // Ages what has ended. Call it every few seconds.
  void Sweep(WallTime now);

  // Fills in what the intake counts.
  void AddTo(HepStats& stats) const;

 private:
  struct Instance {
    Instance(sip::ServerIdentity server, const sip::RebuildOptions& rebuild)
        : folder(std::move(server), rebuild) {}

    std::vector<std::string> agents;
    std::vector<Network> allowed;
    sip::DialogFolder folder;
    std::shared_ptr<HeardCell> heard;
    std::unordered_set<std::string, StringHash, StringEq> changed;  // Call-IDs
    std::vector<std::string> forgotten;                             // at the host's wish
    // The agent's clock less ours, by its last message: ages are told by its clock.
    std::chrono::microseconds clock_offset{0};
    HepInstanceStats stats;
  };
  using AgentMap = std::unordered_map<std::string, Instance*, StringHash, StringEq>;

  const AgentMap::value_type* FindAgent(const sip::HepPacket& packet) const;
  Instance* FindInstance(std::string_view name) const;
  void FoldOne(Instance& instance, sip::CapturedMessageView message);
  void MarkChanged(Instance& instance, std::string_view call_id);
  std::vector<sip::DialogState> Dialogs(const Instance& instance, std::string_view call_id) const;
  void AddOlderKnowledge(const Instance& instance, sip::DialogState& dialog) const;
  void RecordCall(Instance& instance, const std::string& call_id, WallTime now, Changes& changes);
  void ForgetSuperseded(const Instance& by, const sip::DialogState& ended, WallTime now,
                        Changes& changes);

  Options options_;
  std::vector<std::unique_ptr<Instance>> instances_;
  AgentMap by_agent_;
  std::unordered_map<std::string, std::vector<DialogRecord>, StringHash, StringEq> stored_;
  // The call that is written and its record, kept for their memory.
  std::vector<sip::DialogState> recorded_;
  std::string encoded_;
  std::uint64_t sequence_ = 0;
  HepStats stats_;
};

}  // namespace sipheal::inline v0_1::hep
