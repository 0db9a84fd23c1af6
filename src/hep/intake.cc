// SPDX-License-Identifier: Apache-2.0
#include "hep/intake.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "absl/strings/str_format.h"
#include "model/store_rules.h"
#include "sipheal/sip/dialog_codec.h"
#include "sipheal/sip/stream_framer.h"

namespace sipheal::inline v0_1::hep {
namespace {

// Of one instance. While the store is away, changes above this are left out, and counted.
constexpr std::size_t kMaxChanged = 1'000'000;

// Takes as long for a wrong key as for the right one, whatever it holds.
bool SameKey(std::string_view given, std::string_view wanted) {
  unsigned different = given.size() == wanted.size() ? 0 : 1;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const char other = i < given.size() ? given[i] : '\0';
    different |= static_cast<unsigned char>(other) ^ static_cast<unsigned char>(wanted[i]);
  }
  return different == 0;
}

bool SameDialog(const sip::DialogState& a, const sip::DialogState& b) {
  return a.local.tag == b.local.tag && a.remote.tag == b.remote.tag && a.call_id == b.call_id;
}

bool HasIdentity(const sip::DialogState& dialog) {
  return !dialog.local.tag.empty() && !dialog.remote.tag.empty();
}

// A call that failed or was given up before its answer; no store ever held it.
bool NeverWasConfirmed(const sip::DialogState& dialog) {
  return dialog.confirmed_at == sip::CaptureTime{} &&
         (dialog.end == sip::DialogEnd::kInviteFailed || dialog.end == sip::DialogEnd::kCancelled ||
          dialog.end == sip::DialogEnd::kEarlyTerminated);
}

DialogRecord RecordOf(std::string_view instance, const sip::DialogState& dialog, WallTime now) {
  DialogRecord record;
  record.instance = instance;
  record.call_id = dialog.call_id;
  record.local_tag = dialog.local.tag;
  record.remote_tag = dialog.remote.tag;
  record.updated_at = now;
  return record;
}

DialogRecord RemovalOf(std::string_view instance, const sip::DialogState& dialog, WallTime now) {
  DialogRecord record = RecordOf(instance, dialog, now);
  record.removed = true;
  return record;
}

absl::Status Check(const HepInstanceOptions& options) {
  if (options.instance.empty()) {
    return absl::InvalidArgumentError("hep instance: no name: give it the instance's name");
  }
  if (options.agents.empty()) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "hep instance %s: no agents: list its capture_name or capture_id", options.instance));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status Intake::AddInstance(HepInstanceOptions options, std::shared_ptr<HeardCell> heard) {
  if (absl::Status status = Check(options); !status.ok()) return status;
  if (FindInstance(options.instance) != nullptr) {
    return absl::AlreadyExistsError(
        absl::StrFormat("hep instance %s: is there already", options.instance));
  }
  std::vector<Network> allowed;
  for (const std::string& text : options.allowed_sources) {
    const std::optional<Network> network = Network::Parse(text);
    if (!network.has_value()) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "hep instance %s: allowed_sources: \"%s\" is no address and no network: write "
          "\"192.0.2.7\" or \"10.0.0.0/8\"",
          options.instance, text));
    }
    allowed.push_back(*network);
  }
  for (const std::string& agent : options.agents) {
    const auto found = by_agent_.find(agent);
    if (agent.empty() || found != by_agent_.end()) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "hep instance %s: agents: \"%s\" %s: each agent belongs to one instance",
          options.instance, agent,
          agent.empty() ? std::string("is empty")
                        : absl::StrFormat("is that of %s", found->second->stats.instance)));
    }
  }
  if (options.server.agents.empty()) options.server.agents = options.agents;
  auto instance = std::make_unique<Instance>(std::move(options.server), options_.rebuild);
  instance->stats.instance = std::move(options.instance);
  instance->agents = std::move(options.agents);
  instance->allowed = std::move(allowed);
  instance->heard = std::move(heard);
  for (const std::string& agent : instance->agents) by_agent_[agent] = instance.get();
  instances_.push_back(std::move(instance));
  return absl::OkStatus();
}

absl::Status Intake::RemoveInstance(std::string_view name) {
  Instance* const instance = FindInstance(name);
  if (instance == nullptr) {
    return absl::NotFoundError(absl::StrFormat("hep instance %s: is not known", name));
  }
  for (const std::string& agent : instance->agents) by_agent_.erase(agent);
  std::erase_if(instances_, [&](const auto& entry) { return entry.get() == instance; });
  return absl::OkStatus();
}

void Intake::Forget(std::string_view name, std::string_view call_id) {
  Instance* const instance = FindInstance(name);
  if (instance == nullptr) return;
  instance->folder.Forget(call_id);
  if (const auto found = stored_.find(call_id); found != stored_.end()) {
    std::erase_if(found->second, [&](const DialogRecord& r) { return r.instance == name; });
    if (found->second.empty()) stored_.erase(found);
  }
  instance->changed.erase(std::string(call_id));
  if (options_.keep_records) instance->forgotten.emplace_back(call_id);
}

const Intake::AgentMap::value_type* Intake::FindAgent(const sip::HepPacket& packet) const {
  if (!packet.message.agent.empty()) {
    const auto found = by_agent_.find(packet.message.agent);
    if (found != by_agent_.end()) return &*found;
  }
  if (!packet.has_agent_id) return nullptr;
  std::array<char, 10> digits;
  const auto [end, error] =
      std::to_chars(digits.data(), digits.data() + digits.size(), packet.agent_id);
  const auto found = by_agent_.find(
      std::string_view(digits.data(), static_cast<std::size_t>(end - digits.data())));
  return found != by_agent_.end() ? &*found : nullptr;
}

Intake::Instance* Intake::FindInstance(std::string_view name) const {
  for (const auto& instance : instances_) {
    if (instance->stats.instance == name) return instance.get();
  }
  return nullptr;
}

bool Intake::AllowsSource(const sip::IpAddress& source) const {
  return std::any_of(instances_.begin(), instances_.end(), [&](const auto& instance) {
    return instance->allowed.empty() ||
           std::any_of(instance->allowed.begin(), instance->allowed.end(),
                       [&](const Network& network) { return network.Contains(source); });
  });
}

void Intake::CountRefused(sip::HepError error) {
  ++stats_.refused[static_cast<std::size_t>(error)];
}

bool Intake::Take(std::string_view bytes, const sip::IpAddress& source, WallTime arrived,
                  MonotonicTime heard) {
  ++stats_.packets;
  stats_.bytes += bytes.size();
  sip::HepPacket packet;
  if (const sip::HepError error = sip::DecodeHep(bytes, packet); error != sip::HepError::kNone) {
    CountRefused(error);
    return false;
  }
  if (!options_.auth_key.empty() &&
      !(packet.has_auth_key && SameKey(packet.auth_key, options_.auth_key))) {
    ++stats_.wrong_key;
    return false;
  }
  const AgentMap::value_type* const agent = FindAgent(packet);
  if (agent == nullptr) {
    ++stats_.unknown_agent;
    return false;
  }
  Instance& instance = *agent->second;
  if (!instance.allowed.empty() &&
      std::none_of(instance.allowed.begin(), instance.allowed.end(),
                   [&](const Network& network) { return network.Contains(source); })) {
    ++stats_.wrong_source;
    return false;
  }
  ++instance.stats.packets;
  instance.heard->store(heard.time_since_epoch().count(), std::memory_order_relaxed);
  if (packet.protocol_type != sip::kHepSip) {
    ++stats_.not_sip;
    return true;
  }
  sip::CapturedMessageView message = packet.message;
  message.agent = agent->first;
  if (message.time == sip::CaptureTime{}) message.time = arrived;
  instance.clock_offset = message.time - arrived;
  if (message.transport == sip::Transport::kUdp) {
    FoldOne(instance, message);
    return true;
  }
  // The whole receive buffer of a connection, once for each message in it: several messages, and
  // perhaps the head of the next. What is in it twice folds to the same.
  const std::vector<std::string_view> parts = sip::SplitStreamBuffer(message.bytes);
  for (const std::string_view part : parts) {
    message.bytes = part;
    FoldOne(instance, message);
  }
  // A WebSocket frame is one message, and needs no Content-Length to say where it ends.
  if (parts.empty()) FoldOne(instance, message);
  return true;
}

void Intake::FoldOne(Instance& instance, sip::CapturedMessageView message) {
  message.sequence = ++sequence_;
  ++instance.stats.messages;
  const sip::FoldOutcome outcome = instance.folder.Fold(message);
  switch (outcome.result) {
    case sip::FoldResult::kFolded:
      ++instance.stats.folded;
      MarkChanged(instance, outcome.call_id);
      break;
    case sip::FoldResult::kDuplicate:
      ++instance.stats.duplicates;
      break;
    case sip::FoldResult::kNotOurs:
      ++instance.stats.not_ours;
      break;
    case sip::FoldResult::kIgnored:
      ++instance.stats.ignored;
      break;
    case sip::FoldResult::kMalformed:
      ++instance.stats.malformed;
      break;
    case sip::FoldResult::kTombstone:
      ++instance.stats.tombstoned;
      break;
    case sip::FoldResult::kLimit:
      ++instance.stats.limited;
      break;
  }
}

void Intake::SetStored(std::vector<DialogRecord> records) {
  stored_.clear();
  for (DialogRecord& record : records) {
    stored_[record.call_id].push_back(std::move(record));
  }
}

std::vector<sip::DialogState> Intake::Dialogs(const Instance& instance,
                                              std::string_view call_id) const {
  std::vector<sip::DialogState> dialogs = instance.folder.Snapshot(call_id);
  const std::size_t live = dialogs.size();
  if (const auto found = stored_.find(call_id); found != stored_.end()) {
    for (const DialogRecord& record : found->second) {
      if (record.instance != instance.stats.instance) continue;
      const bool known = std::any_of(
          dialogs.begin(), dialogs.begin() + static_cast<std::ptrdiff_t>(live),
          [&](const sip::DialogState& dialog) {
            return dialog.local.tag == record.local_tag && dialog.remote.tag == record.remote_tag;
          });
      if (known) continue;
      absl::StatusOr<sip::DecodedDialog> decoded = sip::DecodeDialog(record.bytes);
      if (!decoded.ok() || decoded->dialog.call_id != call_id) continue;
      decoded->dialog.from_stored_state = true;
      dialogs.push_back(std::move(decoded->dialog));
    }
  }
  for (sip::DialogState& dialog : dialogs) AddOlderKnowledge(instance, dialog);
  if (dialogs.empty()) {
    if (const std::optional<sip::Tombstone> tombstone = instance.folder.FindTombstone(call_id)) {
      sip::DialogState ended;
      ended.call_id = tombstone->call_id;
      ended.phase = sip::DialogPhase::kTerminated;
      ended.end = tombstone->end;
      ended.last_seen = tombstone->ended_at;
      dialogs.push_back(std::move(ended));
    }
  }
  return dialogs;
}

// A recovered call continues a dialog that another instance held before, or that was held before
// this receiver started: what was known then is the lower bound of what holds now.
void Intake::AddOlderKnowledge(const Instance& instance, sip::DialogState& dialog) const {
  if (!HasIdentity(dialog) || dialog.phase == sip::DialogPhase::kTerminated) return;
  std::vector<sip::DialogState> older;
  for (const auto& other : instances_) {
    if (other.get() == &instance) continue;
    for (sip::DialogState& state : other->folder.Snapshot(dialog.call_id)) {
      if (SameDialog(state, dialog) && state.phase != sip::DialogPhase::kTerminated) {
        older.push_back(std::move(state));
      }
    }
  }
  if (const auto found = stored_.find(dialog.call_id); found != stored_.end()) {
    for (const DialogRecord& record : found->second) {
      if (record.local_tag != dialog.local.tag || record.remote_tag != dialog.remote.tag) continue;
      absl::StatusOr<sip::DecodedDialog> decoded = sip::DecodeDialog(record.bytes);
      if (decoded.ok()) older.push_back(std::move(decoded->dialog));
    }
  }
  std::stable_sort(older.begin(), older.end(),
                   [](const sip::DialogState& a, const sip::DialogState& b) {
                     return a.last_seen > b.last_seen;
                   });
  for (const sip::DialogState& state : older) sip::MergeStoredState(state, dialog);
}

DialogCapture Intake::Fetch(std::string_view call_id, std::string_view name) const {
  DialogCapture capture;
  capture.call_id = call_id;
  for (const auto& instance : instances_) {
    if (!name.empty() && instance->stats.instance != name) continue;
    for (sip::DialogState& dialog : Dialogs(*instance, call_id)) {
      capture.dialogs.push_back(std::move(dialog));
    }
  }
  capture.completeness =
      capture.dialogs.empty() ? Completeness::kMissing : Completeness::kBestEffort;
  return capture;
}

void Intake::MarkChanged(Instance& instance, std::string_view call_id) {
  // Alone and without a store, nobody asks what changed.
  if (!options_.keep_records && instances_.size() < 2) return;
  if (instance.changed.contains(call_id)) return;
  if (instance.changed.size() >= kMaxChanged) {
    ++stats_.store_skipped;
    return;
  }
  instance.changed.emplace(call_id);
}

std::size_t Intake::changed_calls() const {
  std::size_t count = 0;
  for (const auto& instance : instances_) {
    count += instance->changed.size() + instance->forgotten.size();
  }
  return count;
}

Changes Intake::TakeChanges(std::size_t max_calls, WallTime now) {
  Changes changes;
  for (const auto& instance : instances_) {
    while (changes.calls < max_calls && !instance->forgotten.empty()) {
      ++changes.calls;
      changes.gone.push_back({instance->stats.instance, std::move(instance->forgotten.back())});
      instance->forgotten.pop_back();
    }
    while (changes.calls < max_calls && !instance->changed.empty()) {
      const std::string call_id =
          std::move(instance->changed.extract(instance->changed.begin()).value());
      ++changes.calls;
      RecordCall(*instance, call_id, now, changes);
    }
    changes.more = changes.more || !instance->changed.empty() || !instance->forgotten.empty();
  }
  return changes;
}

void Intake::RecordCall(Instance& instance, const std::string& call_id, WallTime now,
                        Changes& changes) {
  const std::string& name = instance.stats.instance;
  std::vector<sip::DialogState>& dialogs = recorded_;
  instance.folder.Snapshot(call_id, &dialogs);
  if (dialogs.empty()) {
    // Swept before its end could be written: the store was away for long.
    if (options_.keep_records && instance.folder.FindTombstone(call_id).has_value()) {
      changes.gone.push_back({name, call_id});
    }
    return;
  }
  for (sip::DialogState& dialog : dialogs) {
    if (!HasIdentity(dialog)) continue;
    if (dialog.phase == sip::DialogPhase::kTerminated) {
      if (NeverWasConfirmed(dialog)) continue;
      if (options_.keep_records) changes.records.push_back(RemovalOf(name, dialog, now));
      ForgetSuperseded(instance, dialog, now, changes);
      continue;
    }
    if (!options_.keep_records) continue;
    AddOlderKnowledge(instance, dialog);
    if (dialog.phase != sip::DialogPhase::kConfirmed) continue;
    sip::EncodeDialog(dialog, &encoded_);
    if (encoded_.size() > internal::kMaxDialogBytes) {
      ++stats_.store_skipped;
      continue;
    }
    DialogRecord record = RecordOf(name, dialog, now);
    record.bytes = encoded_;
    changes.records.push_back(std::move(record));
  }
}

// The end of a recovered dialog is seen by the last instance that carried it. What earlier ones and
// the store know of it is then over too.
void Intake::ForgetSuperseded(const Instance& by, const sip::DialogState& ended, WallTime now,
                              Changes& changes) {
  for (const auto& other : instances_) {
    if (other.get() == &by) continue;
    const std::vector<sip::DialogState> dialogs = other->folder.Snapshot(ended.call_id);
    // Forgetting is by Call-ID: another dialog under it that lives on keeps them all.
    const bool over =
        std::all_of(dialogs.begin(), dialogs.end(), [&](const sip::DialogState& dialog) {
          return dialog.phase == sip::DialogPhase::kTerminated ||
                 (SameDialog(dialog, ended) && dialog.last_seen <= ended.last_seen);
        });
    if (dialogs.empty() || !over) continue;
    if (options_.keep_records) {
      for (const sip::DialogState& dialog : dialogs) {
        if (HasIdentity(dialog)) {
          changes.records.push_back(RemovalOf(other->stats.instance, dialog, now));
        }
      }
    }
    other->folder.Forget(ended.call_id);
    other->changed.erase(ended.call_id);
  }
  const auto found = stored_.find(ended.call_id);
  if (found == stored_.end()) return;
  std::erase_if(found->second, [&](const DialogRecord& record) {
    const bool same = record.local_tag == ended.local.tag && record.remote_tag == ended.remote.tag;
    if (same && options_.keep_records && record.instance != by.stats.instance) {
      changes.records.push_back(RemovalOf(record.instance, ended, now));
    }
    return same;
  });
  if (found->second.empty()) stored_.erase(found);
}

void Intake::Sweep(WallTime now) {
  for (const auto& instance : instances_) {
    instance->folder.Sweep(now + instance->clock_offset, options_.ended_linger,
                           options_.tombstone_ttl);
  }
}

void Intake::AddTo(HepStats& stats) const {
  stats.packets = stats_.packets;
  stats.bytes = stats_.bytes;
  stats.refused = stats_.refused;
  stats.unknown_agent = stats_.unknown_agent;
  stats.wrong_source = stats_.wrong_source;
  stats.wrong_key = stats_.wrong_key;
  stats.not_sip = stats_.not_sip;
  stats.store_skipped = stats_.store_skipped;
  stats.store_backlog = changed_calls();
  for (const auto& instance : instances_) {
    HepInstanceStats entry = instance->stats;
    entry.calls = instance->folder.call_count();
    entry.tombstones = instance->folder.tombstone_count();
    entry.bytes = instance->folder.size_bytes();
    if (entry.messages > 0) entry.clock_offset = instance->clock_offset;
    stats.instances.push_back(std::move(entry));
  }
}

}  // namespace sipheal::inline v0_1::hep
