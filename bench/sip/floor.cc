// SPDX-License-Identifier: Apache-2.0
#include "bench/sip/floor.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <string>
#include <unordered_set>

#include "sip/text.h"
#include "sipheal/sip/dialog_folder.h"
#include "sipheal/sip/message_fields.h"
#include "sipheal/sip/message_view.h"
#include "sipheal/sip/sdp.h"

namespace sipheal::bench {
namespace {

enum class Step { kFindCall, kHash, kReadSdp, kKeepTexts, kWriteState };

struct NamedStep {
  Step step;
  const char* name;
};
constexpr NamedStep kSteps[] = {
    {Step::kFindCall, "floor: parse, fields, the call found"},
    {Step::kHash, "floor: and the message hashed"},
    {Step::kReadSdp, "floor: and the lines of its SDP found"},
    {Step::kKeepTexts, "floor: and new texts kept"},
    {Step::kWriteState, "floor: and the state written"},
};

class Floor {
 public:
  explicit Floor(const Corpus& corpus) : corpus_(corpus) {
    kept_.reserve(std::size_t{64} * 1024);
    // A few, so that the caches hold them as they would hold what a state is made of.
    constexpr std::size_t kStates = 16;
    sip::DialogFolder folder(CorpusServer());
    for (std::size_t dialog = 0; dialog < std::min(kStates, corpus.dialogs); ++dialog) {
      std::string_view call_id;
      for (std::size_t i = 0; i < corpus.per_dialog; ++i) {
        call_id = folder.Fold(corpus.messages[dialog * corpus.per_dialog + i]).call_id;
      }
      for (sip::DialogState& state : folder.Snapshot(call_id)) states_.push_back(std::move(state));
    }
  }

  void Pass(Step last) {
    for (std::size_t dialog = 0; dialog < corpus_.dialogs; ++dialog) {
      kept_.clear();
      held_ = {};
      for (std::size_t i = 0; i < corpus_.per_dialog; ++i) {
        Message(corpus_.messages[dialog * corpus_.per_dialog + i].bytes, last);
      }
      calls_.erase(last_call_);
      last_call_.clear();
      if (last >= Step::kWriteState) state_ = states_[dialog % states_.size()];
      Keep(state_);
    }
  }

 private:
  // What is held of a call, as far as the next request needs it.
  enum Held { kFrom, kTo, kContact, kRecordRoute, kSdp, kHeldTexts };

  void Message(std::string_view bytes, Step last) {
    Keep(view_.Parse(bytes).ok() && fields_.Read(view_).ok());
    // Mostly it is the call of the message before.
    if (view_.call_id() != last_call_) {
      last_call_ = view_.call_id();
      calls_.insert(last_call_);
    }
    if (last >= Step::kHash) Keep(sip::HashMessage(bytes));
    if (last < Step::kReadSdp) return;
    const std::string_view sdp = sip::FindSdp(view_);
    if (!sdp.empty()) Keep(Lines(sdp));
    if (last < Step::kKeepTexts) return;
    Hold(kFrom, view_.Get(sip::HeaderId::kFrom));
    Hold(kTo, view_.Get(sip::HeaderId::kTo));
    Hold(kContact, fields_.contact.uri.text);
    Hold(kRecordRoute, view_.Get(sip::HeaderId::kRecordRoute));
    Hold(kSdp, sdp);
  }

  static std::size_t Lines(std::string_view text) {
    std::size_t lines = 0;
    for (const char* at = text.data(); at != nullptr; ++lines) {
      at = static_cast<const char*>(
          std::memchr(at, '\n', static_cast<std::size_t>(text.data() + text.size() - at)));
      if (at != nullptr) ++at;
    }
    return lines;
  }

  // Requests and answers of either side say much the same as those before.
  void Hold(Held what, std::string_view text) {
    std::string_view& held = held_[view_.is_request() ? 0 : 1][what];
    if (text.empty() || text == held) return;
    const std::size_t at = kept_.size();
    kept_ += text;
    held = std::string_view(kept_).substr(at);
  }

  const Corpus& corpus_;
  sip::MessageView view_;
  sip::MessageFields fields_;
  std::string last_call_;
  std::unordered_set<std::string> calls_;
  std::string kept_;  // never grows beyond what was reserved
  std::array<std::array<std::string_view, kHeldTexts>, 2> held_;
  std::vector<sip::DialogState> states_;
  sip::DialogState state_;
};

}  // namespace

std::vector<Contender> FloorContenders(const Corpus& corpus) {
  const auto floor = std::make_shared<Floor>(corpus);
  std::vector<Contender> contenders;
  for (const NamedStep& step : kSteps) {
    Contender& contender = contenders.emplace_back();
    contender.name = step.name;
    contender.pass = [floor, last = step.step] { floor->Pass(last); };
    contender.messages = corpus.messages.size();
    contender.dialogs = corpus.dialogs;
    contender.bytes = corpus.bytes;
  }
  return contenders;
}

}  // namespace sipheal::bench
