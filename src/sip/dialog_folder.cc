// SPDX-License-Identifier: Apache-2.0
#include "sipheal/sip/dialog_folder.h"

#include <algorithm>
#include <deque>
#include <iterator>
#include <memory>
#include <tuple>
#include <vector>

#include "sip/call_facts.h"
#include "sip/call_mentions.h"
#include "sip/derive.h"
#include "sip/link_dialogs.h"
#include "sip/message_notes.h"
#include "sip/message_reader.h"
#include "sip/server_match.h"
#include "sip/text.h"
#include "sip/text_map.h"
#include "sip/tracked_calls.h"
#include "sipheal/sip/dialog_codec.h"

namespace sipheal::inline v0_1::sip {
namespace {

constexpr std::chrono::hours kSilentUnanswered{1};
// A quiet call with more transactions than this is shrunk again.
constexpr std::size_t kQuietTransactions = 12;

// Such a message starts nothing by itself. Its answers are common (keep-alive OPTIONS), each with a
// Call-ID of its own, so they must not make an entry.
bool StartsNoCall(const MessageView& view, bool has_to_tag) {
  switch (view.method()) {
    case Method::kOptions:
    case Method::kMessage:
    case Method::kSubscribe:
    case Method::kNotify:
    case Method::kRefer:
    case Method::kOther:
      return !view.is_request() || !has_to_tag;
    default:
      return false;
  }
}

std::uint16_t PathOf(const Endpoint& peer, Transport transport) {
  const auto& ip = peer.ip.bytes();
  const std::uint64_t seed = (std::uint64_t{peer.port} << 8) | static_cast<std::uint8_t>(transport);
  return static_cast<std::uint16_t>(
      HashWords(std::string_view(reinterpret_cast<const char*>(ip.data()), ip.size()), seed));
}

// Erases the call when it goes out of scope, unless that was cancelled.
class Undoing {
 public:
  Undoing(TrackedCalls& calls, std::string_view call_id) : calls_(calls), call_id_(call_id) {}
  ~Undoing() {
    if (!cancelled_) calls_.Erase(call_id_);
  }
  Undoing(const Undoing&) = delete;
  Undoing& operator=(const Undoing&) = delete;
  void Cancel() { cancelled_ = true; }

 private:
  TrackedCalls& calls_;
  std::string_view call_id_;
  bool cancelled_ = false;
};

// What DialogFolder and Rebuild share.
class Folding {
 public:
  Folding(ServerIdentity server, RebuildOptions options)
      : matcher_(std::move(server)), options_(options) {}

  FoldOutcome Fold(const CapturedMessageView& message, const MessageView& view, bool batch);
  void Derive(std::string_view call_id, CallFacts& facts, std::vector<DialogState>* dialogs) const;
  void KeepWhatRefers();

  ServerMatcher matcher_;
  RebuildOptions options_;
  mutable TrackedCalls calls_;  // looking at a call opens it
  // A tombstone keeps the tags of what ended, so that new tags under an old Call-ID are a new call.
  struct Grave {
    DialogEnd end = DialogEnd::kNone;
    CaptureTime ended_at{};
    std::vector<std::uint64_t> tags;
  };
  TextMap<Grave> graves_;
  std::deque<std::string> grave_order_;
  CallMentions mentions_;
  // Large, and no part of what is kept; apart from it, so that size_bytes() tells what calls cost.
  std::unique_ptr<MessageFields> fields_ = std::make_unique<MessageFields>();
  std::unique_ptr<MessageReader> reader_ = std::make_unique<MessageReader>();
  MessageRecord record_;
  mutable Deriver deriver_;
  std::vector<DialogState> swept_;    // the dialogs of the call that Sweep looks at
  std::vector<DialogState> retired_;  // those that speak of others, of calls that it dropped

 private:
  void NoteMentions(CallFacts& facts, std::string_view call_id);
  bool IsOfAGrave(std::string_view call_id) const;
};

// An answer of the server makes certain what had got no room before.
void Folding::NoteMentions(CallFacts& facts, std::string_view call_id) {
  if (!record_.is_request && (!mentions_.refused() || record_.sent || record_.status >= 300)) {
    return;
  }
  const auto names = [](std::string_view notes) {
    return HasNote(notes, Note::kReplaces) || HasNote(notes, Note::kDialogInfo);
  };
  if (record_.is_request && !names(record_.notes)) return;
  const Transaction* const at = facts.Find(record_);
  if (at == nullptr || !at->has_request) return;
  mentions_.Note(call_id, facts.Text(at->request.note), at->trying || at->ServerTookPart());
}

// Whether the message is of a call that ended before, and not of a new one under its Call-ID.
bool Folding::IsOfAGrave(std::string_view call_id) const {
  if (graves_.empty()) return false;
  const auto grave = graves_.find(call_id);
  if (grave == graves_.end()) return false;
  const std::uint64_t from = HashBytes(record_.from_tag);
  const std::uint64_t to = HashBytes(record_.to_tag);
  const std::vector<std::uint64_t>& tags = grave->second.tags;
  return std::any_of(tags.begin(), tags.end(), [&](std::uint64_t tag) {
    return tag == from || (record_.has_to_tag && tag == to);
  });
}

void Folding::Derive(std::string_view call_id, CallFacts& facts,
                     std::vector<DialogState>* dialogs) const {
  deriver_.Derive(call_id, facts, matcher_, options_, dialogs);
}

// Of the dialogs of a call that is dropped. They are looked at when no call is any more.
void Folding::KeepWhatRefers() {
  if (mentions_.empty()) return;
  std::copy_if(swept_.begin(), swept_.end(), std::back_inserter(retired_), RefersToOthers);
}

FoldOutcome Folding::Fold(const CapturedMessageView& message, const MessageView& view, bool batch) {
  FoldOutcome outcome;
  outcome.call_id = view.call_id();
  if (!IsDialogMethod(view.method())) return outcome;
  // The top Via is read first: it alone tells whose message it is.
  const ParseResult fields = fields_->Read(view);
  if (fields.error == ParseError::kBadVia) {
    outcome.result = FoldResult::kMalformed;
    outcome.parse = fields;
    return outcome;
  }
  const Adjacency adjacency = matcher_.Classify(message, view, fields_->top_via);
  if (!adjacency.ours()) {
    outcome.result = FoldResult::kNotOurs;
    return outcome;
  }
  outcome.parse = fields;
  if (fields.ok()) outcome.parse = reader_->Read(message, view, *fields_, adjacency, &record_);
  if (!outcome.parse.ok()) {
    outcome.result = FoldResult::kMalformed;
    return outcome;
  }
  const TrackedCalls::Place place = calls_.Find(view.call_id());
  // Only within a dialog do these count; a request without To tag is outside of any.
  const bool outside = record_.is_request && !record_.has_to_tag &&
                       record_.method != Method::kInvite && record_.method != Method::kCancel;
  if (outside) return outcome;
  if (!place.tracked()) {
    if (!batch && StartsNoCall(view, record_.has_to_tag)) return outcome;
    if (IsOfAGrave(view.call_id())) {
      outcome.result = FoldResult::kTombstone;
      return outcome;
    }
    if (calls_.size() >= options_.max_calls) {
      outcome.result = FoldResult::kLimit;
      return outcome;
    }
  }
  TrackedCalls::OpenCall& call =
      place.tracked() ? calls_.Open(view.call_id(), place) : calls_.Add(view.call_id(), place);
  CallFacts& facts = call.facts;
  // A call into which no more than a part of a message went is not kept.
  Undoing undo(calls_, view.call_id());
  const bool limits_reached = facts.limits_reached;
  const std::int64_t first_us = facts.first_us;
  const std::int64_t newest_us = facts.newest_us;
  outcome.result = FoldResult::kDuplicate;
  for (bool sent : {true, false}) {
    if (sent ? !adjacency.sent : !adjacency.received) continue;
    record_.sent = sent == record_.is_request;
    record_.peer = sent ? message.destination : message.source;
    record_.sighting.path = PathOf(record_.peer, record_.transport);
    const FoldResult result = facts.Merge(record_, options_);
    if (outcome.result == FoldResult::kDuplicate) outcome.result = result;
  }
  if (!batch && outcome.changed()) NoteMentions(facts, view.call_id());
  // The times in a packed call count from its first message.
  if (outcome.result != FoldResult::kDuplicate || facts.limits_reached != limits_reached ||
      facts.first_us != first_us) {
    calls_.Changed(call);
  } else if (facts.newest_us != newest_us) {
    calls_.NewestChanged(call);
  }
  undo.Cancel();
  return outcome;
}

}  // namespace

class DialogFolder::Impl : public Folding {
 public:
  using Folding::Folding;
};

DialogFolder::DialogFolder(ServerIdentity server, RebuildOptions options)
    : impl_(std::make_unique<Impl>(std::move(server), options)) {}
DialogFolder::DialogFolder(DialogFolder&&) noexcept = default;
DialogFolder& DialogFolder::operator=(DialogFolder&&) noexcept = default;
DialogFolder::~DialogFolder() = default;

const ServerIdentity& DialogFolder::server() const { return impl_->matcher_.identity(); }

FoldOutcome DialogFolder::Fold(const CapturedMessageView& message) {
  MessageView view;
  FoldOutcome outcome;
  outcome.parse = view.Parse(message.bytes, {.max_bytes = impl_->options_.max_message_bytes});
  if (!outcome.parse.ok()) {
    outcome.result = FoldResult::kMalformed;
    return outcome;
  }
  return impl_->Fold(message, view, false);
}

FoldOutcome DialogFolder::Fold(const CapturedMessageView& message, const MessageView& view) {
  return impl_->Fold(message, view, false);
}

bool DialogFolder::Tracks(std::string_view call_id) const {
  return impl_->calls_.Find(call_id).tracked();
}

std::vector<DialogState> DialogFolder::Snapshot(std::string_view call_id) const {
  std::vector<DialogState> dialogs;
  Snapshot(call_id, &dialogs);
  return dialogs;
}

void DialogFolder::Snapshot(std::string_view call_id, std::vector<DialogState>* dialogs) const {
  TrackedCalls& calls = impl_->calls_;
  const TrackedCalls::Place place = calls.Find(call_id);
  if (!place.tracked()) return dialogs->clear();
  const CallMentions::Named* const mentioned = impl_->mentions_.Find(call_id);
  // `call_id` may be a text of `dialogs`, which are written over: not to be looked at any more.
  TrackedCalls::OpenCall& call = calls.Open(call_id, place);
  impl_->Derive(call.call_id, call.facts, dialogs);
  if (mentioned == nullptr) return;
  const auto own = static_cast<std::ptrdiff_t>(dialogs->size());
  std::vector<DialogState> others;
  for (const std::string& other : mentioned->second.by) {
    const TrackedCalls::Place at = calls.Find(other);
    if (!at.tracked() || other == mentioned->first) continue;
    impl_->Derive(other, calls.Open(other, at).facts, &others);
    for (DialogState& dialog : others) dialogs->push_back(std::move(dialog));
  }
  for (const std::string& other : mentioned->second.retired) {
    if (absl::StatusOr<DecodedDialog> kept = DecodeDialog(other); kept.ok()) {
      dialogs->push_back(std::move(kept->dialog));
    }
  }
  ApplyReferences(*dialogs);
  dialogs->erase(dialogs->begin() + own, dialogs->end());
}

void DialogFolder::ForEachCall(const std::function<void(std::string_view call_id)>& fn) const {
  impl_->calls_.ForEach(fn);
}

std::size_t DialogFolder::Sweep(CaptureTime now, std::chrono::seconds linger,
                                std::chrono::seconds tombstone_ttl) {
  Impl& impl = *impl_;
  const auto us = [](CaptureTime time) { return time.time_since_epoch().count(); };
  const std::int64_t quiet_before = us(now - linger);
  const std::int64_t stale_before = us(now - kSilentUnanswered);
  std::size_t ended = 0;
  CallStore& store = impl.calls_.CloseAll();
  CallFacts& facts = impl.calls_.spare();
  store.Filter([&](StoredCall*& call) {
    if (call->newest_us > quiet_before) return true;
    // A subscription without a call: nothing that anybody could go on with. It leaves no tombstone,
    // since what comes later may be of a call whose beginning was not captured.
    if (!call->of_call && call->newest_us < stale_before) {
      if (!impl.mentions_.empty()) {
        store.Load(*call, facts);
        impl.Derive(call->call_id(), facts, &impl.swept_);
        impl.KeepWhatRefers();
      }
      return false;
    }
    const bool shrink = !call->compacted || call->transactions > kQuietTransactions;
    const bool stale = call->newest_us < stale_before;
    // Known from an earlier look to go on; nothing has come since.
    if (!shrink && call->quiet && (call->two_sided || !stale)) return true;
    store.Load(*call, facts);
    if (shrink) facts.Compact();
    facts.compacted = true;
    call = store.PutQuiet(call, facts);
    const StoredCall& at = *call;
    bool over = stale && !at.two_sided;
    DialogEnd end = DialogEnd::kNone;
    bool derived = false;
    Impl::Grave grave;
    if (over || at.may_have_ended) {
      for (std::size_t i = 1; i < facts.tags.size(); ++i) {
        grave.tags.push_back(HashBytes(facts.Tag(static_cast<TagId>(i))));
      }
    }
    if (!over && at.may_have_ended) {
      // An attempt that was refused leaves no dialog; one that is still open is not over.
      const bool open = std::any_of(
          facts.transactions.begin(), facts.transactions.end(), [](const Transaction& transaction) {
            return transaction.method == Method::kInvite && transaction.FinalAnswer() == nullptr;
          });
      std::vector<DialogState>& dialogs = impl.swept_;
      impl.Derive(at.call_id(), facts, &dialogs);
      derived = true;
      over = std::all_of(dialogs.begin(), dialogs.end(), [](const DialogState& dialog) {
        return dialog.phase == DialogPhase::kTerminated ||
               dialog.end == DialogEnd::kByeUnanswered || dialog.end == DialogEnd::kCancelled;
      });
      if (dialogs.empty() && open) over = false;
      if (!dialogs.empty()) end = dialogs.front().end;
    }
    if (!over) {
      call->quiet = true;
      return true;
    }
    grave.end = end;
    grave.ended_at = CaptureTime(std::chrono::microseconds(at.newest_us));
    if (derived) impl.KeepWhatRefers();
    const std::string call_id(at.call_id());
    impl.grave_order_.push_back(call_id);  // first, so that none stands without an order
    impl.graves_[call_id] = std::move(grave);
    ++ended;
    return false;
  });
  impl.mentions_.Retire(impl.retired_);
  impl.retired_.clear();
  impl.mentions_.DropOthers(
      [&impl](std::string_view call_id) { return impl.calls_.Find(call_id).tracked(); });
  const CaptureTime oldest = now - tombstone_ttl;
  while (!impl.grave_order_.empty()) {
    auto grave = impl.graves_.find(impl.grave_order_.front());
    const bool gone = grave == impl.graves_.end();
    if (!gone && grave->second.ended_at >= oldest &&
        impl.graves_.size() <= impl.options_.max_tombstones) {
      break;
    }
    if (!gone) impl.graves_.erase(grave);
    impl.grave_order_.pop_front();
  }
  return ended;
}

std::optional<Tombstone> DialogFolder::FindTombstone(std::string_view call_id) const {
  auto grave = impl_->graves_.find(call_id);
  if (grave == impl_->graves_.end()) return std::nullopt;
  return Tombstone{grave->first, grave->second.end, grave->second.ended_at};
}

bool DialogFolder::Forget(std::string_view call_id) {
  bool found = impl_->calls_.Erase(call_id);
  if (impl_->graves_.empty()) return found;
  if (auto grave = impl_->graves_.find(call_id); grave != impl_->graves_.end()) {
    impl_->graves_.erase(grave);
    found = true;
  }
  return found;
}

std::size_t DialogFolder::call_count() const { return impl_->calls_.size(); }
std::size_t DialogFolder::tombstone_count() const { return impl_->graves_.size(); }

std::size_t DialogFolder::size_bytes() const {
  std::size_t total = sizeof(Impl);
  total += impl_->calls_.size_bytes() + impl_->graves_.bucket_count() * sizeof(void*);
  total += impl_->mentions_.size_bytes();
  for (const auto& [call_id, grave] : impl_->graves_) {
    // Its Call-ID is in the order, too.
    total += EntryBytes<Impl::Grave>(call_id) + EntryBytes<char>(call_id) +
             grave.tags.capacity() * sizeof(std::uint64_t);
  }
  return total;
}

std::vector<DialogState> Rebuild(std::span<const CapturedMessage> messages,
                                 const ServerIdentity& server, const RebuildOptions& options) {
  Folding impl(server, options);
  MessageView view;
  for (const CapturedMessage& message : messages) {
    if (view.Parse(std::string_view(message.bytes), {.max_bytes = options.max_message_bytes})
            .ok()) {
      impl.Fold(message, view, true);
    }
  }
  std::vector<DialogState> dialogs;
  std::vector<DialogState> of_call;
  impl.calls_.ForEachFacts([&](std::string_view call_id, CallFacts& facts) {
    impl.Derive(call_id, facts, &of_call);
    for (DialogState& dialog : of_call) dialogs.push_back(std::move(dialog));
  });
  ApplyReferences(dialogs);
  std::sort(dialogs.begin(), dialogs.end(), [](const DialogState& a, const DialogState& b) {
    return std::tie(a.call_id, a.created_at, a.local.tag, a.remote.tag) <
           std::tie(b.call_id, b.created_at, b.local.tag, b.remote.tag);
  });
  return dialogs;
}

}  // namespace sipheal::inline v0_1::sip
